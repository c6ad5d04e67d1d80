"""The one exception that a person reads."""


class SluiceError(Exception):
    """Something a user asked for cannot be done. The message says what, why and what to do, in one or two lines."""
