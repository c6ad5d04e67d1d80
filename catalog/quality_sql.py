"""Quality rules of a contract as Trino's SQL over the stream's silver table."""

from collections.abc import Sequence
from typing import Any

from catalog.contract import Check, Column, Rule, Stream
from catalog.query import identifier, literal


def broken(rule: Rule, stream: Stream) -> str:
    """True for a row that breaks the rule. As in the stream job: null keeps it, and what can't be computed breaks it."""
    if rule.expression is not None:
        return f"not coalesce(try(coalesce(({_in_trino(rule.expression)}), true)), false)"
    column = stream.column(rule.column or "")
    name = identifier(column.name)
    if rule.not_null:
        return f"{name} is null"
    good = []
    if rule.allowed:
        good.append(f"{name} in ({', '.join(_typed(value, column) for value in rule.allowed)})")
    if rule.pattern is not None:
        good.append(f"regexp_like({name}, {literal(rule.pattern)})")
    return f"not coalesce({' and '.join(good)}, true)"


def counted(check: Check, stream: Stream) -> str:
    """The aggregate that is the check's metric, in rows. Not for checks by query."""
    if check.metric == "rowCount":
        return "count(*)"
    if check.metric == "duplicateValues":
        what = _together(check.columns)
        return f"count({what}) - count(distinct {what})"
    if check.rule is None:
        raise ValueError(f"{check.metric} counts nothing by itself")
    return f"count_if({broken(check.rule, stream)})"


def _together(columns: Sequence[str]) -> str:
    named = [identifier(name) for name in columns]
    return named[0] if len(named) == 1 else f"row({', '.join(named)})"


def _typed(value: Any, column: Column) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if column.encoding is not None:
        return f"from_unixtime({value}{' / 1000e0' if column.encoding == 'epoch-millis' else ''})"
    match column.logical_type:
        case "date":
            return f"date {literal(str(value))}"
        case "timestamp":
            return f"from_iso8601_timestamp({literal(str(value))})"
        case "integer" | "number":
            return str(value)
        case _:
            return literal(str(value))


def _in_trino(expression: str) -> str:
    # Loaded late: half a second, which no program that only reads this module has to wait.
    import sqlglot

    return str(sqlglot.transpile(expression, read="spark", write="trino", identify=True)[0])
