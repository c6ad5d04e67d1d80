"""What the explorer knows of a table: its columns with types, descriptions, and whether they are masked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from catalog.contract import Column, Stream
from catalog.gold_project import PROJECT
from catalog.names import BRONZE, GOLD, PASSING, QUARANTINE, SILVER

SCHEMAS = (GOLD, SILVER, QUARANTINE, BRONZE)
PAYLOAD = "payload"


class Kind(Enum):
    """What can be done with a column: how it is filtered, sorted and charted."""

    NUMBER = "number"
    DATE = "date"
    TIME = "timestamp"
    TEXT = "text"
    BOOLEAN = "boolean"
    BINARY = "binary"
    NESTED = "nested"


KINDS = (
    (re.compile(r"(tinyint|smallint|integer|bigint|real|double|decimal)\b"), Kind.NUMBER),
    (re.compile(r"timestamp\b"), Kind.TIME),
    (re.compile(r"date$"), Kind.DATE),
    (re.compile(r"(varchar|char|uuid)\b"), Kind.TEXT),
    (re.compile(r"boolean$"), Kind.BOOLEAN),
    (re.compile(r"varbinary$"), Kind.BINARY),
)


@dataclass(frozen=True)
class TableColumn:
    """One column of a table. `type` is Trino's."""

    name: str
    type: str
    description: str = ""
    classification: str = ""
    masked: bool = False

    @property
    def kind(self) -> Kind:
        return next((kind for pattern, kind in KINDS if pattern.match(self.type)), Kind.NESTED)


@dataclass(frozen=True)
class TableInfo:
    """One table or view and its columns, in order."""

    schema: str
    name: str
    columns: tuple[TableColumn, ...]
    description: str = ""

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def masked(self) -> tuple[TableColumn, ...]:
        return tuple(column for column in self.columns if column.masked)

    def column(self, name: str) -> TableColumn:
        """The column of that name. Raises KeyError."""
        return {column.name: column for column in self.columns}[name]

    def of_kind(self, *kinds: Kind) -> tuple[TableColumn, ...]:
        """Columns of these kinds whose values may be seen."""
        return tuple(column for column in self.columns if column.kind in kinds and not column.masked)

    def revealed(self) -> "TableInfo":
        """The same table with nothing masked."""
        return replace(self, columns=tuple(replace(column, masked=False) for column in self.columns))


def described(found: Sequence[Mapping[str, Any]], streams: Mapping[str, Stream]) -> dict[str, TableInfo]:
    """Tables by label, from rows of information_schema.columns (table_schema, table_name, column_name, data_type, comment)."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found:
        if row["table_schema"] in SCHEMAS and not row["table_name"].endswith(PASSING):
            grouped.setdefault((row["table_schema"], row["table_name"]), []).append(row)
    tables = [_table(schema, name, rows, streams) for (schema, name), rows in grouped.items()]
    tables.sort(key=lambda table: (SCHEMAS.index(table.schema), table.name))
    return {table.label: table for table in tables}


def _table(schema: str, name: str, rows: Sequence[Mapping[str, Any]], streams: Mapping[str, Stream]) -> TableInfo:
    if schema == GOLD:
        model = gold_models().get(name, {})
        texts = {column["name"]: _clean(column.get("description")) for column in model.get("columns", ())}
        columns = (TableColumn(r["column_name"], r["data_type"], texts.get(r["column_name"], "")) for r in rows)
        return TableInfo(schema, name, tuple(columns), _clean(model.get("description")))
    stream = streams.get(name)
    by_name = {column.name: column for column in stream.columns} if stream else {}
    sensitive = any(column.sensitive for column in by_name.values())
    return TableInfo(
        schema, name, tuple(_column(row, by_name, sensitive) for row in rows), stream.description if stream else ""
    )


def _column(row: Mapping[str, Any], contract: Mapping[str, Column], sensitive: bool) -> TableColumn:
    name = row["column_name"]
    column = contract.get(name)
    classification = (column.classification if column else None) or ""
    # The payload is the whole record, with every field that is masked elsewhere.
    masked = bool(column and column.sensitive) or (sensitive and column is None and name == PAYLOAD)
    text = (column.description if column else "") or row.get("comment") or ""
    return TableColumn(name, row["data_type"], text, classification, masked)


@cache
def gold_models() -> dict[str, dict[str, Any]]:
    """Models of the dbt project by name, as its YAML files describe them."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(PROJECT, "models").rglob("*.yml")):
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", ()):
            found[model["name"]] = model
    return found


def _clean(text: str | None) -> str:
    return " ".join((text or "").split())
