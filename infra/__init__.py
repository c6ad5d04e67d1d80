"""What starts, watches and packages Sluice's parts. Imported by none of them."""
