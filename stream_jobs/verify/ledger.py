"""`ops.ledger`: what was found, and what a later check may build on. `ops.losses`: what was given up on purpose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pyiceberg.catalog import Catalog

from catalog import names
from catalog.ops_tables import LEDGER, LOSSES, append, recent
from stream_jobs.verify.holes import Known
from stream_jobs.verify.report import Range, Report

EXACT = "exact"
# How far back a check looks for one before it.
MEMORY = timedelta(days=400)
EVER = timedelta(days=36_500)


@dataclass(frozen=True)
class Memory:
    """Of each stream what was given up, and of each of its partitions what the newest exact check found."""

    losses: Mapping[str, Sequence[Range]]
    known: Mapping[str, Mapping[int, Known]]


def remembered(catalog: Catalog) -> Memory:
    """What `ops` says; nothing, as long as nobody wrote to it."""
    losses: dict[str, list[Range]] = {}
    for row in recent(catalog, LOSSES, EVER).to_pylist():
        losses.setdefault(row["stream"], []).append(Range(row["partition"], row["from_offset"], row["to_offset"]))
    known: dict[str, dict[int, Known]] = {}
    for row in sorted(recent(catalog, LEDGER, MEMORY).to_pylist(), key=lambda row: row["checked_at"]):
        stream = row["stream"]
        if (
            row["table"] == names.table(names.BRONZE, stream)
            and row["outcome"] == EXACT
            and row["partition"] is not None
        ):
            given_up = sum(
                max(0, min(loss.end, row["to_offset"]) - loss.start)
                for loss in losses.get(stream, ())
                if loss.partition == row["partition"]
            )
            void = row["to_offset"] - row["rows"] - given_up
            known.setdefault(stream, {})[row["partition"]] = Known(row["to_offset"], void)
    return Memory(losses, known)


def write(catalog: Catalog, began: datetime, reports: Iterable[Report]) -> None:
    """One row for each partition of bronze, for silver, and for each deviation."""
    if rows := [{"checked_at": began, **row} for report in reports for row in _rows(report)]:
        append(catalog, LEDGER, rows)


def _rows(report: Report) -> Iterable[Mapping[str, Any]]:
    bronze, silver = (names.table(layer, report.stream) for layer in (names.BRONZE, names.SILVER))
    common = {"stream": report.stream, "mode": report.mode, "from_offset": 0}
    for found in report.deviations:
        yield {
            **common, "table": found.table, "partition": found.partition, "from_offset": None, "rows": found.rows,
            "outcome": found.kind, "detail": found.line(),
        }  # fmt: skip
    if report.ok:
        for partition, end in sorted(report.reached.items()):
            accepted, void = report.accepted.get(partition, 0), report.void.get(partition, 0)
            detail = f"{accepted} given up, {void} void" if accepted or void else None
            yield {
                **common, "table": bronze, "partition": partition, "to_offset": end, "rows": end - accepted - void,
                "outcome": EXACT, "detail": detail,
            }  # fmt: skip
        yield {**common, "table": silver, "from_offset": None, "rows": report.totals.silver, "outcome": EXACT}
