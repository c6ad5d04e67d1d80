"""Named points at which a test can have maintenance killed."""

import os
import signal

POINTS = (
    "before-rewrite",
    "before-commit",
    "after-commit",
    "before-expire",
    "after-expire",
    "before-orphans",
    "within-orphans",
)


def point(name: str) -> None:
    """SIGKILL this process if SLUICE_MAINTENANCE_KILL_AT names this point."""
    if os.environ.get("SLUICE_MAINTENANCE_KILL_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
