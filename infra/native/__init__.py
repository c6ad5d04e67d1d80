"""The whole stack as ordinary processes: what is fetched, how each part is started, and who watches it."""
