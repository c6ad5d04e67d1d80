"""Named points between the commits of a batch, at which a test can have the process killed."""

import os
import signal

from stream_jobs.settings import scratch

POINTS = (
    "before-bronze",
    "after-bronze",
    "after-quarantine",
    "after-silver",
)
_ENABLED = os.environ.get("SLUICE_STREAM_FAULTS") == "1"


def point(name: str) -> None:
    """SIGKILL this process if the file `kill-at` in the job's scratch names this point. Off unless SLUICE_STREAM_FAULTS=1."""
    if not _ENABLED:
        return
    order = scratch() / "kill-at"
    try:
        wanted = order.read_text().strip()
    except FileNotFoundError:
        return
    if wanted == name:
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
