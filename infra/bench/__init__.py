"""Measurements of a running stack. A measure returns plain figures; nothing here judges them."""
