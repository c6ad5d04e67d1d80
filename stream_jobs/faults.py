"""Named points of a batch, at which a test can have the process killed or paused."""

import os
import signal

from stream_jobs.settings import scratch

POINTS = (
    "before-batch",
    "before-bronze",
    "validated-bronze",
    "after-bronze",
    "after-quarantine",
    "before-silver",
    "validated-silver",
    "after-silver",
)
# File in the job's scratch that names a point → what befalls the process there.
ORDERS = {"kill-at": signal.SIGKILL, "stop-at": signal.SIGSTOP}
_ENABLED = os.environ.get("SLUICE_STREAM_FAULTS") == "1"


def point(name: str) -> None:
    """Kill or pause this process if an order names this point. Off unless SLUICE_STREAM_FAULTS=1."""
    if not _ENABLED:
        return
    for file, signal_number in ORDERS.items():
        order = scratch() / file
        try:
            wanted = order.read_text().strip()
        except FileNotFoundError:
            continue
        if wanted == name:
            order.unlink(missing_ok=True)
            signal.raise_signal(signal_number)  # to this very thread: another one would let it run on for a moment
