"""Offsets that bronze lacks: which of them are a loss.

None is, of what somebody gave up (`ops.losses`), nor of what never held a record for a reader: a marker of a transaction, a record
that compaction took. Kafka itself says which those are, as long as it has that part of the topic. For older parts the ledger
does: how many void offsets an exact check had found there, when Kafka still had them.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from catalog.settings import LakeSettings
from stream_jobs.verify.kafka import Bounds, held
from stream_jobs.verify.report import Deviation, Range, counted, deviations, shared, without


@dataclass(frozen=True)
class Known:
    """What an earlier exact check says of a partition: so many void offsets below `end`."""

    end: int
    void: int


@dataclass(frozen=True)
class Holes:
    """Offsets that bronze lacks, by what they are; `accepted` and `void` counted by partition."""

    missing: tuple[Deviation, ...] = ()
    accepted: Mapping[int, int] = field(default_factory=dict)
    void: Mapping[int, int] = field(default_factory=dict)


def explained(
    lake: LakeSettings,
    table: str,
    found: Iterable[Range],
    bounds: Bounds,
    losses: Sequence[Range],
    known: Mapping[int, Known],
) -> Holes:
    """`found` in order; `losses`: what was given up."""
    listed = list(found)
    accepted, open_ones = counted(shared(listed, losses)), without(listed, losses)
    here = [Range(partition, begin, end) for partition, (begin, end) in bounds.items()]
    asked = shared(open_ones, here)
    lost = asyncio.run(held(lake, table.partition(".")[2], asked)) if asked else []
    void = counted(without(asked, lost))
    for partition, ranges in _by_partition(without(open_ones, here)).items():
        memory = known.get(partition, Known(0, 0))
        remembered = shared(ranges, [Range(partition, 0, memory.end)])
        if sum(map(len, remembered)) == memory.void:
            void[partition] = void.get(partition, 0) + memory.void
            ranges = without(ranges, remembered)
        lost += ranges
    lost.sort(key=lambda one: (one.partition, one.start))
    return Holes(tuple(deviations("missing", table, "offsets are not there", lost)), accepted, void)


def _by_partition(ranges: Iterable[Range]) -> dict[int, list[Range]]:
    found: dict[int, list[Range]] = {}
    for one in ranges:
        found.setdefault(one.partition, []).append(one)
    return found
