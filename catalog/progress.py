"""How far a table is: offsets and totals as they stand in a snapshot's summary. Plain facts, no engine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyiceberg.table import Table

from catalog import names

# partition -> the next offset to be taken
Offsets = Mapping[int, int]


@dataclass(frozen=True)
class Totals:
    """Rows since the table began, by what became of them. `rows` = silver + quarantine + duplicates (+ superseded)."""

    rows: int = 0
    silver: int = 0
    quarantine: int = 0
    duplicates: int = 0
    superseded: int = 0

    def plus(self, other: "Totals") -> "Totals":
        """Both, added member by member."""
        return Totals(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Progress:
    """The state that a table's newest snapshot with offsets gives; `snapshot_id` is None before the first commit."""

    offsets: Offsets = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    snapshot_id: int | None = None


@dataclass(frozen=True)
class Span:
    """Offsets [start, end) of one partition."""

    partition: int
    start: int
    end: int


def encode_offsets(offsets: Offsets) -> str:
    """JSON with partitions in order, so that equal offsets are equal text."""
    return json.dumps({str(p): offsets[p] for p in sorted(offsets)}, separators=(",", ":"))


def decode_offsets(text: str) -> dict[int, int]:
    """The reverse of `encode_offsets`."""
    return {int(partition): int(offset) for partition, offset in json.loads(text).items()}


def encode_totals(totals: Totals) -> str:
    """JSON of the members."""
    return json.dumps(vars(totals), separators=(",", ":"))


def decode_totals(text: str | None) -> Totals:
    """The reverse of `encode_totals`; no text is no rows."""
    return Totals(**json.loads(text)) if text else Totals()


def spans(behind: Offsets, ahead: Offsets) -> list[Span]:
    """What the first lacks that the second has; a partition unknown to the first starts at 0."""
    found = (Span(p, behind.get(p, 0), end) for p, end in sorted(ahead.items()))
    return [span for span in found if span.start < span.end]


def latest(*states: Offsets) -> dict[int, int]:
    """The greatest offset of each partition."""
    merged: dict[int, int] = {}
    for state in states:
        for partition, offset in state.items():
            merged[partition] = max(offset, merged.get(partition, offset))
    return merged


def table_progress(table: Table) -> Progress:
    """The state that the newest snapshot with offsets gives, as pyiceberg sees the table."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        if names.P_OFFSETS in summary:
            offsets = decode_offsets(summary[names.P_OFFSETS])
            return Progress(offsets, decode_totals(summary.get(names.P_TOTALS)), snapshot.snapshot_id)
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.snapshot_by_id(parent)
    return Progress()
