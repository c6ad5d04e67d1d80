"""A part that goes on until SIGTERM or SIGINT: its log, and its end."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import structlog

OUT_OF_MEMORY = 12  # ENOMEM


def log_as_json() -> None:
    """JSON lines on standard output, one event each. Once, at start."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
    )  # fmt: skip


def run_until_told(work: Callable[[threading.Event], None], log: Any, grace: float) -> None:
    """Give `work` an event that SIGTERM and SIGINT set, and return when it has. `grace` seconds later the process ends anyway.

    The work has a thread of its own, so that a signal is handled at once even while a library waits for a server. What is cut off
    must be harmless: a statement that goes on by itself, or work that the next start does again.
    """
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if not stop.is_set():
            stop.set()
            log.info("stopping", signal=signal.Signals(number).name)
            timer = threading.Timer(grace, os._exit, [0])
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    sys.unraisablehook = _end_where_a_thread_cannot_begin
    loop = threading.Thread(target=work, args=(stop,), daemon=True)
    loop.start()
    loop.join()
    log.info("stopped")


def _end_where_a_thread_cannot_begin(failure: Any) -> None:
    """A thread that has no memory to begin is one that others wait for for ever: the process ends, and is started again."""
    try:
        sys.__unraisablehook__(failure)
    finally:  # to print it may take memory, too
        if issubclass(failure.exc_type, MemoryError):
            os._exit(OUT_OF_MEMORY)


def end_without_memory(log: Any, failure: MemoryError) -> NoReturn:
    """What has grown or is in pieces does not shrink: the process ends, and is started again. What is cut off must be harmless."""
    try:
        log.error("out of memory", reason=str(failure) or type(failure).__name__)
    finally:
        os._exit(OUT_OF_MEMORY)
