"""Values as a person reads them."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pandas as pd

MOST_BYTES = 4000
FORMULA = re.compile(r"[=+\-@\t\r]")
SIGNED = re.compile(r"[+-][\d\s.,()/-]*\Z")  # a number, a phone number


def number(value: float | int | None) -> str:
    """1234567 → `1,234,567`; nothing for None."""
    return "–" if value is None else f"{value:,.0f}"


def duration(span: timedelta | None) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`; a clock that is a little ahead counts as now."""
    if span is None:
        return "–"
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, name, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size:.0f} {name} {seconds % size // below:.0f} {smaller}"
    return f"{seconds:.0f} s"


def since(moment: datetime | None, now: datetime) -> timedelta | None:
    """How long ago; None for never."""
    return None if moment is None else now - moment


def cell(value: Any) -> Any:
    """A value that a data frame can hold and show: bytes as text, nested values as JSON, times in UTC."""
    match value:
        case bytes():
            return binary(value)
        case datetime():
            return value.astimezone(UTC) if value.tzinfo else value
        case list() | tuple() | dict():
            return orjson.dumps(_nested(value), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        case None | bool() | int() | float() | str() | Decimal() | date():
            return value
        case _:
            return str(value)


def binary(value: bytes) -> str:
    """Bytes as text where they are text, else in hexadecimal; long ones are cut."""
    cut = value[:MOST_BYTES]
    try:
        shown = cut.decode("utf-8")
    except UnicodeDecodeError:
        shown = "0x" + cut.hex()
    return shown + ("…" if len(value) > MOST_BYTES else "")


def frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """A data frame with one column for each name; integers stay integers where some are missing."""
    table = pd.DataFrame([[cell(value) for value in row] for row in rows], columns=list(names), dtype=object)
    for name in table.columns:
        values = table[name].dropna()
        if len(values) and all(type(value) is int for value in values):
            table[name] = table[name].astype("Int64") if _fits(values) else table[name].astype(str)
        elif len(values) and all(type(value) is float for value in values):
            table[name] = table[name].astype(float)
        elif len(values) and all(type(value) is bool for value in values):
            table[name] = table[name].astype("boolean")
        elif len(values) and all(type(value) is datetime for value in values):
            table[name] = pd.to_datetime(table[name], utc=values.iloc[0].tzinfo is not None, errors="coerce")
    return table


def csv(table: pd.DataFrame) -> bytes:
    """The table as UTF-8 CSV. Texts that a spreadsheet would run as a formula begin with an apostrophe; numbers stay."""
    return bytes(table.map(_unarmed).to_csv(index=False).encode("utf-8"))


def _unarmed(value: Any) -> Any:
    armed = isinstance(value, str) and FORMULA.match(value) and not SIGNED.match(value)
    return f"'{value}" if armed else value


def _fits(values: Any) -> bool:
    return bool(all(-(2**63) <= value < 2**63 for value in values))


def _nested(value: Any) -> Any:
    if hasattr(value, "__annotations__") and isinstance(value, tuple):
        names = value.__annotations__.get("names", [])
        if len(names) == len(value) and all(names):
            return {name: _nested(item) for name, item in zip(names, value, strict=True)}
    if isinstance(value, list | tuple):
        return [_nested(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _nested(item) for key, item in value.items()}
    return cell(value)
