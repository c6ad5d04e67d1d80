"""Proof that nothing acknowledged is lost and nothing is counted twice, from the tables and Kafka alone.

For each stream, as of silver's current snapshot and the newest offsets that it or an ancestor carries:

1. bronze holds each offset of each partition once, from 0 up to silver's, without a gap;
2. every bronze row is in silver or in quarantine, once and not in both, or is a repeat of an event id that is there, or
   (entities) was superseded by a later row of its key; nothing is in silver or quarantine that bronze does not hold;
3. the totals that the stream job counted in silver's snapshot are what the tables hold;
4. no event id is in silver and quarantine twice within the stream's horizon; an entity has one row a key;
5. silver reaches the end of the topic as it was when the check began.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

from catalog import names, query
from catalog.contract import Stream
from catalog.kafka_offsets import topic_bounds
from catalog.lake import open_catalog
from catalog.progress import Progress, Totals, table_progress
from catalog.settings import LakeSettings

# So many ranges of a deviation are named; their number is always told.
MOST_RANGES = 20


@dataclass(frozen=True)
class Deviation:
    """Something that must not be: what, in which partition, at which offsets (ranges `3-7`, the last one included)."""

    check: str
    message: str
    partition: int | None = None
    rows: int = 0
    offsets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A stream's proof. `totals` are rows by what became of them; `topic_end` is Kafka's, `offsets` silver's."""

    stream: str
    totals: Totals
    offsets: Mapping[int, int]
    topic_end: Mapping[int, int]
    deviations: tuple[Deviation, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """True if nothing deviates."""
        return not self.deviations

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "stream": self.stream,
            "ok": self.ok,
            "totals": asdict(self.totals),
            "partitions": [
                {"partition": p, "topic_end": end, "silver": self.offsets.get(p, 0)}
                for p, end in sorted(self.topic_end.items())
            ],
            "deviations": [asdict(deviation) for deviation in self.deviations],
        }


def verify(
    lake: LakeSettings,
    streams: Iterable[Stream],
    *,
    wait: float = 60.0,
    done: Callable[[Report], None] = lambda _: None,
) -> list[Report]:
    """A report for each stream. Waits up to `wait` seconds for silver to reach what the topics hold now."""
    chosen = list(streams)
    bounds = asyncio.run(topic_bounds(lake, (names.topic(stream.name) for stream in chosen)))
    catalog = open_catalog(lake)
    deadline = time.monotonic() + wait
    reports = []
    for stream in chosen:
        ends = {partition: end for partition, (_, end) in bounds.get(names.topic(stream.name), {}).items()}
        report = _report(lake, catalog, stream, ends, deadline)
        reports.append(report)
        done(report)
    return reports


def _report(
    lake: LakeSettings, catalog: SqlCatalog, stream: Stream, ends: Mapping[int, int], deadline: float
) -> Report:
    try:
        at, snapshot = _reached(catalog, stream, ends, deadline)
    except NoSuchTableError:
        missing = Deviation("tables", "its tables are not there: run `sluice apply`")
        return Report(stream.name, Totals(), {}, ends, (missing,))
    deviations = [*_lag(at, ends)]
    if snapshot is not None and at.snapshot_id is not None:
        checks = _Checks(lake, stream, at, snapshot)
        deviations += [
            *checks.bronze(),
            *checks.whereabouts(),
            *checks.strays(),
            *checks.identities(),
            *checks.totals(),
        ]
    elif any(ends.values()):
        deviations.append(Deviation("silver", "nothing has been committed yet"))
    return Report(stream.name, at.totals, at.offsets, ends, tuple(deviations))


def _reached(
    catalog: SqlCatalog, stream: Stream, ends: Mapping[int, int], deadline: float
) -> tuple[Progress, int | None]:
    """Silver's progress and its current snapshot, which somebody else may have made: what readers see is what is checked."""
    while True:
        table = catalog.load_table(names.table(names.SILVER, stream.name))
        at, current = table_progress(table), table.current_snapshot()
        if all(at.offsets.get(p, 0) >= end for p, end in ends.items()) or time.monotonic() > deadline:
            return at, current.snapshot_id if current else None
        time.sleep(0.3)


def _lag(at: Progress, ends: Mapping[int, int]) -> Iterable[Deviation]:
    for partition, end in sorted(ends.items()):
        reached = at.offsets.get(partition, 0)
        if reached < end:
            yield Deviation(
                "lag",
                "silver has not reached the end of the topic",
                partition,
                end - reached,
                (f"{reached}-{end - 1}",),
            )
        elif reached > end:
            yield Deviation(
                "topic",
                "the topic ends before what silver holds: it was made anew",
                partition,
                reached - end,
                (f"{end}-{reached - 1}",),
            )


class _Checks:
    """The checks of one stream at one snapshot of silver."""

    def __init__(self, lake: LakeSettings, stream: Stream, at: Progress, snapshot: int) -> None:
        self._lake = lake
        self._stream = stream
        self._at = at
        self._snapshot = snapshot
        below = " or ".join(f"(p = {p} and o < {o})" for p, o in at.offsets.items()) or "false"
        name = query.identifier
        kafka = "_kafka_partition as p, _kafka_offset as o, _event_id as id, _received_at as r"
        self._with = f"""
        with b as (select * from (select "partition" as p, "offset" as o, event_id as id
                                  from {name(names.BRONZE, stream.name)}) where {below}),
             s as (select {kafka} from {name(names.SILVER, stream.name)} for version as of {snapshot}),
             q as (select * from (select {kafka} from {name(names.QUARANTINE, stream.name)}) where {below}),
             kept as (select p, o, id, r, 1 as in_s, 0 as in_q from s union all select p, o, id, r, 0, 1 from q),
             places as (select p, o, sum(in_s) as in_s, sum(in_q) as in_q from kept group by p, o)
        """

    def bronze(self) -> Iterable[Deviation]:
        """Each offset once, from 0 to silver's."""
        rows = self._ask(
            "select p, count(*) as n, count(distinct o) as d, min(o) as low, max(o) as high from b group by p"
        )
        found = {row["p"]: row for row in rows}
        for partition, end in sorted(self._at.offsets.items()):
            row = found.get(partition, {"n": 0, "d": 0})
            if row["d"] != end:
                gaps = self._gaps(partition, end)
                yield Deviation("bronze", "offsets are missing in bronze", partition, end - row["d"], gaps)
            if row["n"] != row["d"]:
                double = self._ask(f"select o from b where p = {partition} group by o having count(*) > 1 order by o")
                offsets = _ranges(r["o"] for r in double)
                yield Deviation(
                    "bronze", "offsets are in bronze more than once", partition, row["n"] - row["d"], offsets
                )

    def whereabouts(self) -> Iterable[Deviation]:
        """Every row of bronze in silver or quarantine, or a repeat, or superseded."""
        events = self._stream.kind == "event"
        # An entity's row that is in neither may have been superseded; that its key is there is told by `totals`.
        lost = "id not in (select id from kept where id is not null)" if events else "false"
        yield from self._places(
            "lost", "rows of bronze are in neither silver nor quarantine",
            f"select p, o from b left join places using (p, o) where in_s is null and {lost}",
        )  # fmt: skip
        yield from self._places(
            "double", "rows are more than once in silver or quarantine",
            "select p, o from places where in_s + in_q > 1",
        )  # fmt: skip

    def strays(self) -> Iterable[Deviation]:
        """Nothing in silver or quarantine that bronze does not hold."""
        yield from self._places(
            "stray", "rows of silver or quarantine are not in bronze",
            "select p, o from places left join b using (p, o) where id is null",
        )  # fmt: skip

    def identities(self) -> Iterable[Deviation]:
        """One row an event id; one row a key."""
        yield from self._places(
            "identity", "event ids are more than once in silver and quarantine",
            "select p, o from (select p, o, r, lag(r) over (partition by id order by r, p, o) as before from kept "
            "where id in (select id from kept group by id having count(*) > 1)) "
            f"where r - before <= interval '{self._stream.horizon_days}' day",
        )  # fmt: skip
        if self._stream.kind == "entity":
            key = ", ".join(query.identifier(column) for column in self._stream.key)
            table = query.identifier(names.SILVER, self._stream.name)
            sql = f"select count(*) - count(distinct row({key})) as n from {table} for version as of {self._snapshot}"
            extra = query.rows(self._lake, sql)[0]["n"]
            if extra:
                yield Deviation("key", "keys have more than one row in silver", None, extra)

    def totals(self) -> Iterable[Deviation]:
        """What the stream job counted is what the tables hold."""
        held = self._ask(
            "select (select count(*) from b) as rows, (select count(*) from s) as silver, (select count(*) from q) as quarantine"
        )[0]
        counted = asdict(self._at.totals)
        for name, number in held.items():
            if counted[name] != number:
                message = f"the stream job counted {counted[name]} rows in {name}, the tables hold {number}"
                yield Deviation("totals", message, None, abs(counted[name] - number))
        accounted = sum(number for name, number in counted.items() if name != "rows")
        if accounted != counted["rows"]:
            message = f"{counted['rows']} rows came in, {accounted} are accounted for"
            yield Deviation("totals", message, None, abs(counted["rows"] - accounted))

    def _gaps(self, partition: int, end: int) -> tuple[str, ...]:
        rows = self._ask(
            f"select o, following from (select o, lead(o, 1, {end}) over (order by o) as following from "
            f"(select distinct o from b where p = {partition} union all select -1)) where following > o + 1 order by o"
        )
        gaps = tuple(f"{row['o'] + 1}-{row['following'] - 1}" for row in rows)
        return gaps[:MOST_RANGES]

    def _places(self, check: str, message: str, sql: str) -> Iterable[Deviation]:
        found: dict[int, list[int]] = {}
        for row in self._ask(f"{sql} order by 1, 2"):
            found.setdefault(row["p"], []).append(row["o"])
        for partition, offsets in found.items():
            yield Deviation(check, message, partition, len(offsets), _ranges(offsets))

    def _ask(self, sql: str) -> list[dict[str, Any]]:
        return query.rows(self._lake, self._with + sql)


def _ranges(offsets: Iterable[int]) -> tuple[str, ...]:
    """Sorted offsets as ranges, `3-7`; the first MOST_RANGES of them."""
    ranges: list[list[int]] = []
    for offset in offsets:
        if ranges and offset == ranges[-1][1] + 1:
            ranges[-1][1] = offset
        elif not ranges or offset != ranges[-1][1]:
            ranges.append([offset, offset])
    return tuple(f"{low}-{high}" for low, high in ranges[:MOST_RANGES])
