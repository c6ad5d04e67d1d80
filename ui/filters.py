"""Filters that a person sets, as conditions with bound values. Column names are quoted; values never become part of the text."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from catalog.query import identifier
from ui.tables import Kind, TableColumn

NULL_LABEL = "(empty)"


@dataclass(frozen=True)
class Condition:
    """SQL with `?` for each of the values."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Between:
    """Numbers, dates or days of a timestamp from `low` to `high`, both included; None leaves a side open."""

    column: TableColumn
    low: Any = None
    high: Any = None

    def condition(self) -> Condition | None:
        if self.low is None and self.high is None:
            return None
        name, parts, values = identifier(self.column.name), [], []
        if self.low is not None:
            parts.append(f"{name} >= {_placeholder(self.column)}")
            values.append(_bound(self.column, self.low))
        if self.high is not None:
            # The whole of the last day belongs to a range of days.
            last_day = self.column.kind is Kind.TIME and not isinstance(self.high, datetime)
            high = self.high + timedelta(days=1) if last_day else self.high
            parts.append(f"{name} {'<' if last_day else '<='} {_placeholder(self.column)}")
            values.append(_bound(self.column, high))
        return Condition(" and ".join(parts), tuple(values))


@dataclass(frozen=True)
class OneOf:
    """One of the chosen values; None among them stands for null. No choice means no condition."""

    column: TableColumn
    chosen: tuple[Any, ...] = ()

    def condition(self) -> Condition | None:
        if not self.chosen:
            return None
        name = identifier(self.column.name)
        values = tuple(value for value in self.chosen if value is not None)
        parts = [f"{name} in ({', '.join('?' for _ in values)})"] if values else []
        if None in self.chosen:
            parts.append(f"{name} is null")
        return Condition(parts[0] if len(parts) == 1 else f"({' or '.join(parts)})", values)


@dataclass(frozen=True)
class Contains:
    """Text that contains the words as they are, in capitals or not."""

    column: TableColumn
    words: str = ""

    def condition(self) -> Condition | None:
        if not self.words:
            return None
        # strpos, not LIKE: % and _ in the words are just characters.
        return Condition(f"strpos(lower(cast({identifier(self.column.name)} as varchar)), lower(?)) > 0", (self.words,))


Filter = Between | OneOf | Contains


def where(filters: Iterable[Filter]) -> Condition:
    """All conditions together: ` where …`, or nothing."""
    conditions = [condition for chosen in filters if (condition := chosen.condition()) is not None]
    if not conditions:
        return Condition("")
    values = tuple(value for condition in conditions for value in condition.values)
    return Condition("\nwhere " + "\n  and ".join(condition.sql for condition in conditions), values)


def _placeholder(column: TableColumn) -> str:
    # A number is sent as text and cast to the column's own type: exact, whatever the type.
    return f"cast(? as {column.type})" if column.kind is Kind.NUMBER else "?"


def _bound(column: TableColumn, value: Any) -> Any:
    if column.kind is Kind.NUMBER:
        return str(value) if not isinstance(value, Decimal) else format(value, "f")
    if column.kind is Kind.TIME and isinstance(value, date) and not isinstance(value, datetime):
        at = datetime.combine(value, time.min)
        return at.replace(tzinfo=UTC) if "with time zone" in column.type else at
    return value
