"""What becomes of each event: judged before anything is sent, told in the receipt after all is acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from ingest_gateway.bodies import BROKEN, Events
from ingest_gateway.check import Checker, Violation, too_deep
from ingest_gateway.settings import GatewaySettings

Placed = tuple[Sequence[int], Sequence[int | None]]  # partition and offset of each good event
NOWHERE: Placed = ((), ())  # of a body without a good event
_VECTOR_FROM = 4096  # bytes; below, numpy's fixed cost is more than it saves
Refused = dict[int, tuple[Violation, ...]]  # index → what is wrong; an event that is not in it is good


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a body's events: why each refused one was, which were good, and the good ones' partitions and offsets."""

    refused: Refused
    good: Sequence[int]
    placed: Placed | None

    @property
    def status(self) -> int:
        """Of the answer: 202 all taken, 207 some, 422 none."""
        return 202 if not self.refused else 207 if self.good else 422


def judge(events: Events, checker: Checker, body: bytes, settings: GatewaySettings) -> Refused:
    """Which events are refused, and why: not JSON, against the contract, nested too deep, too large."""
    refused: Refused = {index: (Violation(*why),) for index, why in events.broken.items()}
    values, payloads = events.values, events.payloads
    if refused or not checker.all_valid(values):
        for index, value in enumerate(values):
            if value is not BROKEN and (found := checker.violations(value)):
                refused[index] = found
    if _may_be_deep(events, body, settings.max_depth + len(values) - len(refused)):
        for index in too_deep(payloads, values, settings.max_depth):
            if index not in events.broken:
                refused[index] = (Violation("", f"is nested more than {settings.max_depth} levels"),)
    if len(body) > settings.max_event_bytes:
        for index, payload in enumerate(payloads):
            if len(payload) > settings.max_event_bytes and index not in events.broken:
                detail = f"has {len(payload)} bytes; an event may have {settings.max_event_bytes}"
                refused[index] = (Violation("", detail),)
    if refused and events.prefix:
        for index in refused.keys() - events.broken.keys():
            refused[index] = tuple(replace(v, pointer=events.prefix + v.pointer) for v in refused[index])
    return refused


def _may_be_deep(events: Events, body: bytes, most_brackets: int) -> bool:
    """Whether any event may be nested too deep: each good event has a bracket, so the rest of the body's bound its depth."""
    if not events.batch or events.attributes is not None:
        return True  # what is in a form or in base64 does not show in the body
    return _brackets(body) >= most_brackets


def _brackets(body: bytes) -> int:
    if len(body) < _VECTOR_FROM:
        return body.count(b"{") + body.count(b"[")
    # One bit tells { from [, and no other byte becomes a { by it.
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) | 0x20 == ord("{")))


def receipt(
    stream: str,
    ids: Sequence[str],
    refused: Refused,
    good: Sequence[int],
    placed: Placed | None,
) -> bytes:
    """The answer's body: a verdict for each event, in the order sent. `placed`: None where the good ones are in the spool."""
    verdicts: list[Any]
    if placed is None:
        verdicts = [{"id": ids[index], "status": "spooled"} for index in good]
    else:
        verdicts = [
            {"id": ids[index], "status": "accepted", "partition": partition, "offset": offset}
            for index, partition, offset in zip(good, *placed, strict=True)
        ]
    if refused:
        accepted = iter(verdicts)
        verdicts = [_refusal(ids[i], refused[i]) if i in refused else next(accepted) for i in range(len(ids))]
    return orjson.dumps({**_counts(stream, refused, good, placed), "events": verdicts})


def summary(stream: str, refused: Refused, good: Sequence[int], placed: Placed | None) -> bytes:
    """The answer's body for those who only count."""
    return orjson.dumps(_counts(stream, refused, good, placed))


def _counts(stream: str, refused: Refused, good: Sequence[int], placed: Placed | None) -> dict[str, Any]:
    counts = {"stream": stream, "accepted": len(good), "refused": len(refused)}
    return counts if placed is not None else {**counts, "spooled": len(good)}


def _refusal(event_id: str, violations: tuple[Violation, ...]) -> dict[str, Any]:
    errors = [{"pointer": violation.pointer, "message": violation.message} for violation in violations]
    return {"id": event_id, "status": "refused", "errors": errors}
