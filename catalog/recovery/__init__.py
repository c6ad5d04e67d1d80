"""The catalog's database is lost: what was kept of it, and what the bucket alone tells."""
