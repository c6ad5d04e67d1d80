"""What a check found: deviations by kind, and for each stream the figures that were compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from catalog.progress import Offsets, Totals

# So many ranges of a deviation are named; its number of rows is always told.
MOST_RANGES = 20

# missing, doubled, altered, unexpected: rows. miscounted: totals. lag: not yet there. topic, tables: nothing to compare with.
Kind = Literal["missing", "doubled", "altered", "unexpected", "miscounted", "lag", "topic", "tables"]
Mode = Literal["quick", "deep"]


@dataclass(frozen=True)
class Deviation:
    """Something that must not be, in a table (`bronze.orders`; or a topic): in which partition, at which offsets (ranges `3-7`,
    the last one included)."""

    kind: Kind
    table: str
    message: str
    partition: int | None = None
    rows: int = 0
    offsets: tuple[str, ...] = ()

    def line(self) -> str:
        """For a terminal."""
        where = self.table if self.partition is None else f"{self.table} partition {self.partition}"
        more = "" if len(self.offsets) < MOST_RANGES else ", …"
        offsets = f", offsets {', '.join(self.offsets)}{more}" if self.offsets else ""
        return f"{where}: {self.kind}: {self.message} ({self.rows:,} rows{offsets})"


@dataclass(frozen=True)
class Report:
    """A stream's proof. `totals` are rows by what became of them, `offsets` silver's; `topic` is Kafka's bounds by partition.

    `reached` are bronze's offsets.
    `accepted` and `void` count offsets that bronze rightly lacks: given up by somebody, or such as never held a record.
    `unchecked` says what could not be compared, and why.
    """

    stream: str
    mode: Mode
    totals: Totals = field(default_factory=Totals)
    offsets: Offsets = field(default_factory=dict)
    reached: Offsets = field(default_factory=dict)
    topic: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()
    accepted: Mapping[int, int] = field(default_factory=dict)
    void: Mapping[int, int] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True if nothing deviates."""
        return not self.deviations

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "stream": self.stream,
            "mode": self.mode,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "totals": asdict(self.totals),
            "accepted_losses": sum(self.accepted.values()),
            "void_offsets": sum(self.void.values()),
            "partitions": [
                {"partition": p, "topic_begin": begin, "topic_end": end, "silver": self.offsets.get(p, 0),
                 "accepted": self.accepted.get(p, 0), "void": self.void.get(p, 0)}
                for p, (begin, end) in sorted(self.topic.items())
            ],
            "deviations": [asdict(deviation) for deviation in self.deviations],
            "unchecked": list(self.unchecked),
        }  # fmt: skip


@dataclass(frozen=True)
class Range:
    """Offsets [start, end) of one partition, all of one kind."""

    partition: int
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.start}-{self.end - 1}"


def deviations(kind: Kind, table: str, message: str, found: Iterable[Range]) -> list[Deviation]:
    """One for each partition. `found` is in the order of partition and offset."""
    by_partition: dict[int, list[Range]] = {}
    for one in found:
        by_partition.setdefault(one.partition, []).append(one)
    return [
        Deviation(kind, table, message, partition, sum(map(len, ranges)), tuple(map(str, ranges[:MOST_RANGES])))
        for partition, ranges in by_partition.items()
    ]


def without(ranges: Iterable[Range], taken: Sequence[Range]) -> list[Range]:
    """What is left of ranges when others are cut out of them, in order."""
    left = []
    for one in ranges:
        start = one.start
        for cut in sorted((c for c in taken if c.partition == one.partition), key=lambda c: c.start):
            if cut.end <= start or cut.start >= one.end:
                continue
            if cut.start > start:
                left.append(Range(one.partition, start, cut.start))
            start = cut.end
        if start < one.end:
            left.append(Range(one.partition, start, one.end))
    return left


def shared(ranges: Iterable[Range], others: Sequence[Range]) -> list[Range]:
    """The parts of ranges that are in one of the others, in order."""
    return [
        Range(one.partition, max(one.start, other.start), min(one.end, other.end))
        for one in ranges
        for other in sorted(others, key=lambda c: c.start)
        if other.partition == one.partition and max(one.start, other.start) < min(one.end, other.end)
    ]


def counted(ranges: Iterable[Range]) -> dict[int, int]:
    """Offsets by partition."""
    found: dict[int, int] = {}
    for one in ranges:
        found[one.partition] = found.get(one.partition, 0) + len(one)
    return found
