"""What `sluice up --demo` sends: real data in `data/`, made-up orders and users from `generate`."""
