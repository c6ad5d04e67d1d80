"""The SQL that the explorer runs, built without a server. Every statement is (text, values)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from catalog.names import BRONZE, LAYERS, P_OFFSETS, SILVER
from catalog.query import identifier, literal
from ui import strings
from ui.filters import Filter, where
from ui.tables import Kind, TableColumn, TableInfo

MOST_CHOICES = 200
MOST_GROUPS = 500
AGGREGATES = ("count", "sum", "avg", "min", "max")

# Trino names the columns of a view in a JDBC catalog several times.
COLUMNS = """select distinct table_schema, table_name, column_name, data_type, comment, ordinal_position
from information_schema.columns
where table_schema in ('gold', 'silver', 'quarantine', 'bronze')
order by table_schema, table_name, ordinal_position"""


@dataclass(frozen=True)
class Statement:
    """SQL with `?` for each of the values."""

    sql: str
    values: tuple[Any, ...] = ()

    def readable(self) -> str:
        """The statement with its values written in, to be copied into another client."""
        parts = self.sql.split("?")
        if len(parts) != len(self.values) + 1:
            return self.sql
        texts = [_written(value) for value in self.values]
        return "".join(part + text for part, text in zip(parts, [*texts, ""], strict=True))


def rows(table: TableInfo, filters: Iterable[Filter], *, sort: str | None, descending: bool, limit: int) -> Statement:
    """The rows of a table that match, masked columns replaced in Trino."""
    condition = where(filters)
    columns = ",\n  ".join(_shown(column) for column in table.columns)
    order = f"\norder by {identifier(sort)} {'desc' if descending else 'asc'} nulls last" if sort else ""
    # One more row than is shown tells whether there are more.
    return Statement(
        f"select\n  {columns}\nfrom {_name(table)}{condition.sql}{order}\nlimit {limit + 1:d}", condition.values
    )


def grouped(
    table: TableInfo, filters: Iterable[Filter], *, x: TableColumn, aggregate: str, y: TableColumn | None,
    color: TableColumn | None = None, unit: str | None = None, largest_first: bool = False,
) -> Statement:  # fmt: skip
    """One row for each group: x, value and, if asked, color. Timestamps are cut to `unit` (minute, hour, day, month, year)."""
    if aggregate not in AGGREGATES or (unit and unit not in ("minute", "hour", "day", "month", "year")):
        raise ValueError(f"{aggregate} by {unit}")
    condition = where(filters)
    at = (
        f"date_trunc('{unit}', {identifier(x.name)})"
        if unit and x.kind in (Kind.TIME, Kind.DATE)
        else identifier(x.name)
    )
    value = "count(*)" if aggregate == "count" or y is None else f"{aggregate}({identifier(y.name)})"
    parts = [f"{at} as x", *([f"{identifier(color.name)} as color"] if color else []), f"{value} as value"]
    keys = "1, 2" if color else "1"
    order = "value desc nulls last" if largest_first else "1"
    return Statement(
        f"select {', '.join(parts)}\nfrom {_name(table)}{condition.sql}\n"
        f"group by {keys}\norder by {order}\nlimit {MOST_GROUPS + 1}",
        condition.values,
    )


def choices(table: TableInfo, column: TableColumn) -> Statement:
    """The values that a column has, the most frequent first, with their counts; one more than can be offered."""
    name = identifier(column.name)
    return Statement(
        f"select {name} as value, count(*) as rows from {_name(table)} group by 1 order by 2 desc, 1 limit {MOST_CHOICES + 1}"
    )


def bounds(table: TableInfo, column: TableColumn) -> Statement:
    """The least and greatest value of a column."""
    name = identifier(column.name)
    return Statement(f"select min({name}) as low, max({name}) as high from {_name(table)}")


def stream_totals(tables: Iterable[tuple[str, str]]) -> Statement:
    """layer, stream, committed_at, total, offsets: from snapshots alone, so that the cost does not grow with the rows."""
    parts = [_totals(layer, stream) for layer, stream in tables if layer in LAYERS]
    return Statement("\nunion all\n".join(parts))


def freshness(streams: Iterable[str]) -> Statement:
    """stream, newest: when the newest event in silver reached the gateway, from the statistics of its files."""
    parts = [
        f"select {literal(stream)} as stream, max(data._received_at.max) as newest from {_metadata(SILVER, stream, 'partitions')}"
        for stream in streams
    ]
    return Statement("\nunion all\n".join(parts))


def rates(streams: Iterable[str], since: datetime) -> Statement:
    """stream, minute, events received since then."""
    streams = list(streams)
    parts = [
        f"select {literal(stream)} as stream, date_trunc('minute', received_at) as minute, count(*) as events "
        f"from {identifier(BRONZE, stream)} where received_at >= ? group by 2"
        for stream in streams
    ]
    return Statement("\nunion all\n".join(parts), tuple(since for _ in streams))


def row_count(table: TableInfo) -> Statement:
    """total: the rows of a table or view."""
    return Statement(f"select count(*) as total from {_name(table)}")


def by_stream(found: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Rows of `stream_totals` as stream → layer → row."""
    grouped_rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in found:
        grouped_rows.setdefault(row["stream"], {})[row["layer"]] = row
    return grouped_rows


def _name(table: TableInfo) -> str:
    return identifier(table.schema, table.name)


def _totals(layer: str, stream: str) -> str:
    records, deletes = (
        "element_at(summary, 'total-records')",
        "coalesce(element_at(summary, 'total-position-deletes'), '0')",
    )
    offsets = f"element_at(summary, {literal(P_OFFSETS)})"
    return (
        f"select {literal(layer)} as layer, {literal(stream)} as stream, max(committed_at) as committed_at, "
        f"max_by(cast({records} as bigint) - cast({deletes} as bigint), committed_at) as total, "
        f"max_by({offsets}, committed_at) filter (where {offsets} is not null) as offsets "
        f"from {_metadata(layer, stream, 'snapshots')} "
        # A snapshot that was only staged (write-audit-publish) is not the table's state.
        f"where {offsets} is not null or element_at(summary, 'wap.id') is null"
    )


def _metadata(layer: str, stream: str, kind: str) -> str:
    return identifier(layer, f"{stream}${kind}")


def _shown(column: TableColumn) -> str:
    name = identifier(column.name)
    return f"{literal(strings.MASKED)} as {name}" if column.masked else name


def _written(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return str(value)
        case float():
            return f"double '{value!r}'"
        case datetime():
            zone = " UTC" if value.tzinfo else ""
            return f"timestamp '{value:%Y-%m-%d %H:%M:%S.%f}{zone}'"
        case date():
            return f"date '{value.isoformat()}'"
        case _:
            return literal(str(value))
