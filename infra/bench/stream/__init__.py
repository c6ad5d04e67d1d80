"""The stream job under steady load, when it catches up, as its tables grow, and after faults."""
