"""What `/readyz` says of the spool."""

import time
from typing import Any, Literal

from ingest_gateway.spool.spool import Spool

State = Literal["off", "empty", "holding", "full", "failing"]


def spool_reasons(spool: Spool) -> list[str]:
    """One line for each stream that has events in the spool, or that were set aside, and one where the spool takes no more."""
    reasons = []
    if (refusal := spool.refusal()) is not None:
        reasons.append(str(refusal))
    for stream, held in spool.held().items():
        stuck = f": {held.stuck}" if held.stuck else ""
        reasons.append(f"stream {stream}: {held.events} events wait in the spool{stuck}")
    for stream, events in spool.aside.items():
        reasons.append(
            f"stream {stream}: {events} spooled events are set aside, Kafka refuses them: `sluice spool list`"
        )
    return reasons


def spool_state(spool: Spool | None) -> dict[str, Any]:
    """State, depth and age of the oldest event, in all and by stream."""
    if spool is None:
        return {"state": "off"}
    held = spool.held()
    now = time.time()
    oldest = min((h.oldest for h in held.values() if h.oldest is not None), default=None)
    return {
        "state": _state(spool, bool(held)),
        "events": sum(h.events for h in held.values()),
        "bytes": spool.space.held,
        "limit_bytes": spool.space.limit,
        "oldest_age": None if oldest is None else round(max(0.0, now - oldest), 3),
        "aside": spool.aside,
        "streams": {name: {"events": h.events, "bytes": h.bytes, "stuck": h.stuck} for name, h in held.items()},
    }


def _state(spool: Spool, holds: bool) -> State:
    refusal = spool.refusal()
    if refusal is not None:
        return "full" if refusal.slug == "spool-full" else "failing"
    return "holding" if holds else "empty"
