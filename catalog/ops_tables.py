"""The tables of `ops`: what the lake says about itself, made when they are first written to.

Times are UTC. Rows are only ever appended, a few at a time, by whoever did what they tell of.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import BooleanExpression, EqualTo, GreaterThanOrEqual
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import MonthTransform
from pyiceberg.types import DoubleType, IcebergType, IntegerType, LongType, NestedField, StringType, TimestamptzType

from catalog import names
from catalog.recovery.leftovers import refuse_leftovers
from catalog.tables import PROPERTIES

TIME, TEXT, INT, LONG, DOUBLE = TimestamptzType(), StringType(), IntegerType(), LongType(), DoubleType()
Columns = Sequence[tuple[str, IcebergType, str]]

MAINTENANCE, LEDGER, LOSSES, CHECKS, BACKFILLS = (
    names.table(names.OPS, name) for name in ("maintenance", "ledger", "losses", "checks", "backfills")
)
# Of each table its columns; the first one is the time by which it is partitioned, by month.
COLUMNS: Mapping[str, Columns] = {
    MAINTENANCE: (
        ("at", TIME, "When the work began."),
        ("table", TEXT, "The table that was worked on, e.g. silver.orders."),
        ("action", TEXT, "compact, expire or orphans."),
        ("outcome", TEXT, "done, nothing, conflict (somebody else was first; nothing was changed) or failed."),
        ("files_before", LONG, "Files that the action looked at: data and delete files; for orphans, all."),
        ("files_after", LONG, "What became of those."),
        ("bytes_before", LONG, "Their bytes."),
        ("bytes_after", LONG, "Their bytes afterwards."),
        ("seconds", DOUBLE, "How long it took."),
        ("detail", TEXT, "More, for a person."),
    ),
    LEDGER: (
        ("checked_at", TIME, "When the check began."),
        ("stream", TEXT, "The stream."),
        ("table", TEXT, "The table that was checked."),
        ("partition", INT, "Kafka partition."),
        ("from_offset", LONG, "First offset that the check covers."),
        ("to_offset", LONG, "The offset after the last one."),
        ("rows", LONG, "Rows that the table holds of these offsets."),
        ("outcome", TEXT, "exact, or the check that failed."),
        ("detail", TEXT, "More, for a person."),
        ("mode", TEXT, "quick or deep."),
    ),
    CHECKS: (
        ("checked_at", TIME, "When the check began."),
        ("stream", TEXT, "The stream."),
        ("rule", TEXT, "The rule's name in the contract."),
        ("severity", TEXT, "error or warning."),
        ("metric", TEXT, "What was counted: rows (that break a rule of rows), one of ODCS's metrics, or sql."),
        ("value", DOUBLE, "The number that was found."),
        ("bound", TEXT, "What it has to be."),
        ("outcome", TEXT, "kept, broken, or failed (it could not be computed)."),
        ("rows", LONG, "Rows that were looked at; null for a query of the contract's own."),
        ("detail", TEXT, "More, for a person."),
    ),
    BACKFILLS: (
        ("at", TIME, "When it was so."),
        ("stream", TEXT, "The stream."),
        ("file", TEXT, "The file, or the object's address."),
        ("version", TEXT, "Its size and when it was changed: a file that was changed is another one."),
        ("outcome", TEXT, "begun, done, or stopped."),
        ("read", LONG, "Records that were read."),
        ("taken", LONG, "Of these, those that the gateway acknowledged; records that came earlier, too."),
        ("refused", LONG, "Of these, those that it refused."),
        ("rejected", TEXT, "Where the refused ones are, with reasons."),
        ("seconds", DOUBLE, "How long it took."),
        ("detail", TEXT, "Why it stopped."),
    ),
    LOSSES: (
        ("at", TIME, "When the loss was accepted."),
        ("stream", TEXT, "The stream."),
        ("partition", INT, "Kafka partition."),
        ("from_offset", LONG, "First offset that is given up."),
        ("to_offset", LONG, "The offset after the last one."),
        ("reason", TEXT, "Why, as the one who accepted it said."),
        ("by", TEXT, "Who accepted it."),
    ),
}  # fmt: skip


def append(catalog: Catalog, identifier: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows (columns by name; a missing one is null) in one commit, which is tried again where another one was first."""
    if rows:
        table = ops_table(catalog, identifier)
        table.append(
            pa.Table.from_pylist(list(rows), schema=schema_to_pyarrow(table.schema(), include_field_ids=False))
        )


def recent(catalog: Catalog, identifier: str, within: timedelta) -> pa.Table:
    """The rows of the last days or hours; none where the table is not there yet."""
    since = (datetime.now(UTC) - within).isoformat()
    return _rows(catalog, identifier, GreaterThanOrEqual(COLUMNS[identifier][0][0], since))


def of_stream(catalog: Catalog, identifier: str, stream: str) -> pa.Table:
    """All rows that tell of a stream; none where the table is not there yet."""
    return _rows(catalog, identifier, EqualTo("stream", stream))


def _rows(catalog: Catalog, identifier: str, wanted: BooleanExpression) -> pa.Table:
    try:
        table = catalog.load_table(identifier)
    except NoSuchTableError:
        return schema_to_pyarrow(_schema(COLUMNS[identifier]), include_field_ids=False).empty_table()
    return table.scan(row_filter=wanted).to_arrow()


def ops_table(catalog: Catalog, identifier: str) -> Table:
    """One of the tables above, created if it is not there. Columns that it lacks (an older release made it) are added.

    Raises SluiceError where the catalog has forgotten it.
    """
    wanted = _schema(COLUMNS[identifier])
    try:
        table = catalog.load_table(identifier)
    except NoSuchTableError:
        refuse_leftovers(catalog, identifier)
        catalog.create_namespace_if_not_exists(names.OPS)
        month = PartitionField(1, 1000, MonthTransform(), f"{wanted.fields[0].name}_month")
        try:
            return catalog.create_table(identifier, wanted, partition_spec=PartitionSpec(month), properties=PROPERTIES)
        except TableAlreadyExistsError:
            return catalog.load_table(identifier)  # somebody else was first
    lacking = [field for field in wanted.fields if field.name not in table.schema().column_names]
    if lacking:
        with table.update_schema() as update:
            for field in lacking:
                update.add_column(field.name, field.field_type, doc=field.doc)
    return table


def _schema(columns: Columns) -> Schema:
    ids = count(1)
    return Schema(*(NestedField(next(ids), name, kind, required=False, doc=doc) for name, kind, doc in columns))
