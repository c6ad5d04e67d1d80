"""Reading bronze back: the ids that were handled, and the rows that silver lacks after a crash."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import (
    AlwaysFalse,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    LessThan,
    Or,
)
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.table import FileScanTask

from catalog.progress import Offsets, Span
from stream_jobs.records import BRONZE

# Up to this many ids are looked up by value, which lets Iceberg skip files by their bounds.
LOOK_UP_BY_VALUE = 500
# Rows and files that are read side by side and held until they are taken: else pyiceberg reads all of a table at once.
READ_AHEAD, FILES_AHEAD = 500_000, 64
ID_COLUMNS = ("event_id", "received_at", "partition", "offset")


class Bronze:
    """One stream's bronze table, as it is when asked."""

    def __init__(self, catalog: Catalog, identifier: str) -> None:
        self._catalog = catalog
        self._identifier = identifier

    def ids(self, handled: Offsets, since: date) -> Iterator[pa.RecordBatch]:
        """ID_COLUMNS of the rows below these offsets that were received since then."""
        below = _any(And(EqualTo("partition", p), LessThan("offset", end)) for p, end in handled.items())
        return self._scan(And(below, GreaterThanOrEqual("received_at", f"{since}T00:00:00+00:00")), ID_COLUMNS)

    def newest(self, handled: Offsets) -> datetime | None:
        """When the newest of the last rows below these offsets was received: each partition's last row stands for it."""
        last = _any(And(EqualTo("partition", p), EqualTo("offset", end - 1)) for p, end in handled.items() if end)
        found = [pc.max(batch.column("received_at")).as_py() for batch in self._scan(last, ID_COLUMNS)]
        return max(filter(None, found), default=None)

    def look_up(self, ids: list[str], since: datetime) -> Iterator[pa.RecordBatch]:
        """ID_COLUMNS of the rows that have one of these ids and were received since then."""
        recent = GreaterThanOrEqual("received_at", since.isoformat())
        if len(ids) <= LOOK_UP_BY_VALUE:
            yield from self._scan(And(In("event_id", ids), recent), ID_COLUMNS)
            return
        wanted = pa.array(ids)
        for batch in self._scan(recent, ID_COLUMNS):
            column = batch.column("event_id")
            yield batch.filter(pc.is_in(column, wanted.cast(column.type)))

    def rows(self, spans: list[Span]) -> pa.Table:
        """The rows of these spans, in the order of their offsets."""
        within = _any(
            And(
                And(EqualTo("partition", s.partition), GreaterThanOrEqual("offset", s.start)), LessThan("offset", s.end)
            )
            for s in spans
        )
        batches = list(self._scan(within, tuple(BRONZE.names)))
        table = pa.Table.from_batches(batches) if batches else BRONZE.empty_table()
        return table.select(BRONZE.names).cast(BRONZE).sort_by([("partition", "ascending"), ("offset", "ascending")])

    def _scan(self, where: BooleanExpression, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        table = self._catalog.load_table(self._identifier)
        scan = table.scan(row_filter=where, selected_fields=columns)
        wanted = scan.projection()
        arrow, reader = schema_to_pyarrow(wanted), ArrowScan(scan.table_metadata, scan.io, wanted, scan.row_filter)
        for tasks in _windows(scan.plan_files()):
            yield from pa.RecordBatchReader.from_batches(arrow, reader.to_record_batches(tasks)).cast(arrow)


def _windows(tasks: Iterable[FileScanTask]) -> Iterator[list[FileScanTask]]:
    window: list[FileScanTask] = []
    for task in tasks:
        window.append(task)
        if sum(one.file.record_count for one in window) >= READ_AHEAD or len(window) >= FILES_AHEAD:
            yield window
            window = []
    if window:
        yield window


def _any(conditions: Iterator[BooleanExpression]) -> BooleanExpression:
    found: BooleanExpression = AlwaysFalse()
    for condition in conditions:
        found = Or(found, condition)
    return found
