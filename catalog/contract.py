"""A stream as its data contract describes it (Open Data Contract Standard v3), in plain frozen facts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["event", "entity"]
Severity = Literal["error", "warning"]

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array")
SUFFIX = ".odcs.yaml"
# Words of `physicalType` and `logicalTypeOptions.format` for whole numbers that fit into 32 bits.
NARROW = {"int", "integer", "smallint", "tinyint", "i8", "i16", "i32", "u8", "u16"}
DECIMAL = re.compile(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\Z", re.IGNORECASE)
SENSITIVE = frozenset({"restricted", "confidential"})  # classifications of what is masked


@dataclass(frozen=True)
class Limits:
    """Bounds of a column's values, as `logicalTypeOptions` gives them (JSON Schema's words and meaning)."""

    minimum: Any = None
    maximum: Any = None
    exclusive_minimum: Any = None
    exclusive_maximum: Any = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False


@dataclass(frozen=True)
class Rule:
    """A `quality` rule judged row by row in the stream job. An `error` quarantines the row; a `warning` only counts.

    `not_null`, `expression` (Spark SQL over silver's columns), or `allowed` and `pattern` (either or both) say what a good row
    satisfies.
    """

    name: str
    column: str | None
    severity: Severity
    message: str
    allowed: tuple[Any, ...] = ()
    pattern: str | None = None
    not_null: bool = False
    expression: str | None = None


@dataclass(frozen=True)
class Bound:
    """What a number must be: one of ODCS's operators (`mustBe`, `mustBeBetween` …) and its operand, for between a pair."""

    operator: str
    operand: Any


@dataclass(frozen=True)
class Check:
    """A `quality` rule of a whole table: what is counted, and what the number must be. `sluice check` judges it."""

    name: str
    severity: Severity
    message: str
    metric: str  # rowCount, duplicateValues, nullValues, missingValues, invalidValues, or sql
    bound: Bound
    columns: tuple[str, ...] = ()  # that the metric looks at
    rule: Rule | None = None  # of these three metrics: what a row that is not counted satisfies
    percent: bool = False  # of the rows
    query: str | None = None  # of sql: in Trino's dialect, one value


@dataclass(frozen=True)
class Column:
    """One property of the contract: a column of silver and a place in the payload."""

    name: str
    logical_type: str
    physical_type: str | None = None
    title: str = ""
    description: str = ""
    required: bool = False
    unique: bool = False
    pointer: tuple[str | int, ...] = ()
    encoding: str | None = None  # timestamps only: epoch-millis or epoch-seconds
    format: str | None = None
    allowed: tuple[Any, ...] = ()
    limits: Limits = field(default_factory=Limits)
    classification: str | None = None
    examples: tuple[Any, ...] = ()
    fields: tuple["Column", ...] = ()
    items: "Column | None" = None

    @property
    def sensitive(self) -> bool:
        """Whether it, or anything in it, is classified as for few eyes."""
        inner = (*self.fields, *((self.items,) if self.items else ()))
        return self.classification in SENSITIVE or any(one.sensitive for one in inner)

    @property
    def narrow(self) -> bool:
        """Whether the table keeps the whole number in 32 bits: as `physicalType` says, else as `format` says."""
        return (self.physical_type or self.format or "").lower() in NARROW

    @property
    def decimal(self) -> tuple[int, int] | None:
        """Precision and scale where the number is a decimal."""
        found = DECIMAL.match(self.physical_type or "") if self.logical_type == "number" else None
        return (int(found[1]), int(found[2] or 0)) if found else None


@dataclass(frozen=True)
class Partition:
    """One field of the partition spec: a column and an Iceberg transform (`day`, `bucket[8]`, …)."""

    column: str
    transform: str


@dataclass(frozen=True)
class Stream:
    """Everything that Sluice knows of a stream."""

    name: str
    version: str
    title: str
    description: str
    kind: Kind
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    event_time: str | None = None
    partitions: tuple[Partition, ...] = ()
    rules: tuple[Rule, ...] = ()
    checks: tuple[Check, ...] = ()
    horizon_days: int = 7
    freshness_seconds: float | None = None
    tags: tuple[str, ...] = ()
    limitations: str = ""
    anonymous_submission: bool = False
    source: Path | None = None

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        return self._by_name[name]

    @property
    def _by_name(self) -> Mapping[str, Column]:
        return {column.name: column for column in self.columns}
