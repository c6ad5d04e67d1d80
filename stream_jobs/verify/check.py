"""One stream's check, quick or deep, from its cut to its report."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysFalse, And, BooleanExpression, EqualTo, GreaterThanOrEqual, Or

from catalog import names
from catalog.contract import Stream
from catalog.kafka_offsets import topic_bounds
from catalog.settings import LakeSettings
from stream_jobs.verify.content import load_kafka, older_versions, unlike_bronze, unlike_kafka
from stream_jobs.verify.cut import Cut, NoSuchTableError, cut, kept
from stream_jobs.verify.fold import misfolded
from stream_jobs.verify.holes import Holes, Known, explained
from stream_jobs.verify.kafka import Bounds, held, is_compacted
from stream_jobs.verify.ledger import Memory
from stream_jobs.verify.load import Watch, load_content, load_places
from stream_jobs.verify.places import misplaced
from stream_jobs.verify.quick import deviating
from stream_jobs.verify.report import Deviation, Mode, Range, Report, counted, shared
from stream_jobs.verify.scratch import Scratch, scratch
from stream_jobs.verify.settings import VerifySettings

# So many offsets before the end of a topic are looked at: all of them may be void.
NEAR = 10_000


@dataclass(frozen=True)
class Check:
    """What a check of any stream needs."""

    lake: LakeSettings
    settings: VerifySettings
    catalog: Catalog
    memory: Memory
    watch: Watch

    def __call__(self, stream: Stream, mode: Mode, ends: Mapping[int, int] | None, deadline: float) -> Report:
        """Waits until `deadline` for silver to reach `ends`; None asks nothing of it."""
        started = time.monotonic()
        bounds = self._bounds(stream)
        try:
            ends = self._ends(stream, ends or {})
            taken = self._reached(stream, ends, deadline)
        except NoSuchTableError as missing:
            silver = names.table(names.SILVER, stream.name)
            found: tuple[Deviation, ...] = (Deviation("tables", silver, f"{missing}: run `sluice apply`"),)
            return Report(stream.name, mode, topic=bounds, deviations=found)
        report = self._quick(taken, bounds) if mode == "quick" else self._deep(taken, bounds)
        found = (*_lag(taken, ends, bounds), *report.deviations)
        return replace(report, deviations=found, seconds=time.monotonic() - started)

    def _bounds(self, stream: Stream) -> Bounds:
        topic = names.topic(stream.name)
        return asyncio.run(topic_bounds(self.lake, [topic])).get(topic, {})

    def _ends(self, stream: Stream, ends: Mapping[int, int]) -> Mapping[int, int]:
        """Without void offsets at the very end, which the stream job never sees. Raises NoSuchTableError."""
        at = cut(self.catalog, stream).silver.progress.offsets
        near = [Range(p, at.get(p, 0), end) for p, end in sorted(ends.items()) if 0 < end - at.get(p, 0) <= NEAR]
        last = {one.partition: one.end for one in asyncio.run(held(self.lake, stream.name, near))} if near else {}
        return {**ends, **{one.partition: last.get(one.partition, one.start) for one in near}}

    def _reached(self, stream: Stream, ends: Mapping[int, int], deadline: float) -> Cut:
        while True:
            taken = cut(self.catalog, stream)
            at = taken.silver.progress.offsets
            if all(at.get(p, 0) >= end for p, end in ends.items()) or time.monotonic() > deadline:
                return taken
            time.sleep(0.3)

    def _quick(self, taken: Cut, bounds: Bounds) -> Report:
        losses, known = self._memory(taken)
        if not (found := deviating(taken, losses, known)):
            return self._report(taken, bounds, "quick", [], _assumed(taken, losses, known))
        with kept(taken), scratch(self.settings) as room:
            holes = self._new_holes(room, taken, bounds, losses, known)
            if not holes.missing and not deviating(taken, losses, _updated(taken, holes)):
                return self._report(taken, bounds, "quick", [], holes)
            load_places(room, taken, self.watch)
            holes = self._holes(room, taken, bounds, losses, known)
            found = [*holes.missing, *misplaced(room, taken), *deviating(taken, losses, _updated(taken, holes))]
            return self._report(taken, bounds, "quick", found, holes)

    def _deep(self, taken: Cut, bounds: Bounds) -> Report:
        losses, known = self._memory(taken)
        with kept(taken), scratch(self.settings) as room:
            load_content(room, taken, self.settings.batch_rows, self.watch)
            asyncio.run(load_kafka(room, self.lake, taken, bounds, self.watch))
            compacted = bool(bounds) and asyncio.run(is_compacted(self.lake, taken.stream.name))
            bounds = self._bounds(taken.stream)
            holes = self._holes(room, taken, bounds, losses, known)
            found = [
                *holes.missing,
                *unlike_kafka(room, taken, bounds, compacted),
                *misplaced(room, taken),
                *unlike_bronze(room, taken),
                *(misfolded(room, taken) if taken.stream.kind == "entity" else ()),
                *deviating(taken, losses, _updated(taken, holes)),
            ]
            unchecked = _unchecked(taken, bounds, older_versions(room))
        return replace(self._report(taken, bounds, "deep", found, holes), unchecked=tuple(unchecked))

    def _memory(self, taken: Cut) -> tuple[list[Range], Mapping[int, Known]]:
        name = taken.stream.name
        reached = taken.bronze.progress.offsets
        known = self.memory.known.get(name, {})
        # A ledger that knows more than bronze has is of a table that was dropped.
        trusted = {p: one for p, one in known.items() if one.end <= reached.get(p, 0)}
        return list(self.memory.losses.get(name, ())), trusted

    def _new_holes(
        self, room: Scratch, taken: Cut, bounds: Bounds, losses: Sequence[Range], known: Mapping[int, Known]
    ) -> Holes:
        """Holes beyond what was checked before: of bronze only places are read, and only in files that have such."""
        one, reached = taken.bronze, taken.bronze.progress.offsets
        room.make("recent", "p integer, o bigint")
        where: BooleanExpression = AlwaysFalse()
        for partition in reached:
            since = known[partition].end if partition in known else 0
            where = Or(where, And(EqualTo("partition", partition), GreaterThanOrEqual("offset", since)))
        if one.snapshot is not None:
            scan = one.table.scan(where, ("partition", "offset"), snapshot_id=one.snapshot.snapshot_id)
            for batch in scan.to_arrow_batch_reader():
                room.add("recent", batch, '"partition", "offset"')
        gaps = room.gaps("select p, o from recent", dict(reached))
        new = shared(gaps, [Range(p, known[p].end if p in known else 0, end) for p, end in reached.items()])
        found = explained(self.lake, one.name, new, bounds, losses, {})
        void = {p: found.void.get(p, 0) + (known[p].void if p in known else 0) for p in reached}
        return replace(found, void=void, accepted=_assumed(taken, losses, known).accepted)

    def _holes(
        self, room: Scratch, taken: Cut, bounds: Bounds, losses: Sequence[Range], known: Mapping[int, Known]
    ) -> Holes:
        gaps = room.gaps("select p, o from committed", dict(taken.bronze.progress.offsets))
        return explained(self.lake, taken.bronze.name, gaps, bounds, losses, known)

    def _report(self, taken: Cut, bounds: Bounds, mode: Mode, found: list[Deviation], holes: Holes) -> Report:
        silver = taken.silver.progress
        return Report(
            taken.stream.name, mode, silver.totals, silver.offsets, taken.bronze.progress.offsets, bounds,
            tuple(found), holes.accepted, holes.void,
        )  # fmt: skip


def _assumed(taken: Cut, losses: Sequence[Range], known: Mapping[int, Known]) -> Holes:
    """What must be so, where the sums agree."""
    spans = [Range(partition, 0, end) for partition, end in sorted(taken.bronze.progress.offsets.items())]
    return Holes((), counted(shared(spans, losses)), {p: one.void for p, one in known.items() if one.void})


def _updated(taken: Cut, holes: Holes) -> dict[int, Known]:
    return {p: Known(end, holes.void.get(p, 0)) for p, end in taken.bronze.progress.offsets.items()}


def _lag(taken: Cut, ends: Mapping[int, int], bounds: Bounds) -> Iterable[Deviation]:
    topic, silver = names.topic(taken.stream.name), taken.silver
    for partition, end in sorted(ends.items()):
        if (reached := silver.progress.offsets.get(partition, 0)) < end:
            span = Range(partition, reached, end)
            yield Deviation(
                "lag", silver.name, "it has not reached the end of the topic", partition, len(span), (str(span),)
            )
    for partition, reached in sorted(taken.bronze.progress.offsets.items()):
        end = bounds.get(partition, (0, 0))[1]
        if reached > end:
            span = Range(partition, end, reached)
            message = f"the topic ends before what {taken.bronze.name} holds: it was made anew, or Kafka lost its end"
            yield Deviation("topic", topic, message, partition, len(span), (str(span),))


def _unchecked(taken: Cut, bounds: Bounds, older: int) -> Iterable[str]:
    gone = sum(min(begin, taken.bronze.progress.offsets.get(p, 0)) for p, (begin, _) in bounds.items())
    if gone:
        yield f"{gone:,} offsets are older than what Kafka still has: bronze alone knows them"
    if older:
        yield f"{older:,} rows were sent under another version of the contract: they were not recomputed"
