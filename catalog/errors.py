"""The one exception that a person reads, and others in a line."""


class SluiceError(Exception):
    """Something a user asked for cannot be done. The message says what, why and what to do, in one or two lines."""


def first_line(failure: BaseException) -> str:
    """What a failure says, without its explanations."""
    lines = str(failure).strip().splitlines()
    return lines[0] if lines else type(failure).__name__
