"""A closed terminal or a SIGTERM ends a command as Ctrl-C does: with nothing left behind."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDINGS = (signal.SIGTERM, signal.SIGHUP)  # of a service manager, of a terminal that is closed


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Inside, they raise KeyboardInterrupt; what the command was told to ignore (`nohup`) stays so. Handlers, and that of Ctrl-C,
    are afterwards what they were."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDINGS)}
    try:
        for number in ENDINGS:
            if before[number] != signal.SIG_IGN:
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
