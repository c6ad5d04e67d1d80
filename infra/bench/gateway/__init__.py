"""The gateway beside what could stand in its place, in one run: a bare echo, a plain gateway without checks, a bare producer."""
