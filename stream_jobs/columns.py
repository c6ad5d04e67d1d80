"""Values of a column as they stood in the payloads → an Arrow array of the column's type.

A whole column is converted at once by Arrow where all its values allow it, and value by value where one does not, so that the
others keep theirs. Both ways give the same result for the same value, whatever else is in the batch.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.contract import Column
from catalog.errors import SluiceError
from catalog.json_schema import EARLIEST, LATEST
from stream_jobs.payloads import MISFIT
from stream_jobs.types import UTC_TIMESTAMP, arrow_type

TIME = r"^([01]\d|2[0-3]):[0-5]\d(:([0-5]\d|60)(\.\d+)?)?([zZ]|[+-]\d\d:\d\d)?$"
TIMESTAMP = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?([zZ]|[+-]\d\d:?\d\d)?$"
# What Arrow's own parser reads like ours: seconds, at most 6 decimals, an offset.
PLAIN_TIMESTAMP = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)$"
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?\s?([zZ]|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_REFUSALS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError, TypeError)
# Letters of the JDK's DateTimeFormatter that a contract's `format` may have, and Python's directives.
JDK_LETTERS = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "uu": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%m", "dd": "%d", "d": "%d",
    "HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "mm": "%M", "m": "%M", "ss": "%S", "s": "%S", "a": "%p", "EEEE": "%A",
    "EEE": "%a", "EE": "%a", "E": "%a", "D": "%j", "DDD": "%j", "X": "%z", "XX": "%z", "XXX": "%z", "xx": "%z", "xxx": "%z",
    "Z": "%z", **{"S" * n: "%f" for n in range(1, 7)},
}  # fmt: skip


@dataclass(frozen=True)
class Typed:
    """A column's array; `misfits` are the rows that have a value which is none of the type (null in the array)."""

    array: pa.Array
    misfits: frozenset[int]


class ColumnConverter:
    """Converts one column. Raises SluiceError where the contract's `format` cannot be read."""

    def __init__(self, column: Column) -> None:
        self._kind = arrow_type(column)
        self._all, self._one = _conversions(column, self._kind)

    def __call__(self, values: list[Any]) -> Typed:
        """`values`: of the column's `json_type`, None or MISFIT."""
        misfits = (
            frozenset(row for row, value in enumerate(values) if value is MISFIT) if MISFIT in values else frozenset()
        )
        if not misfits:
            try:
                return Typed(self._all(values), misfits)
            except _REFUSALS:
                pass
        converted: list[Any] = []
        more = set(misfits)
        for row, value in enumerate(values):
            try:
                converted.append(None if value is None or value is MISFIT else self._one(value))
            except (*_REFUSALS, ArithmeticError):
                converted.append(None)
                more.add(row)
        return Typed(pa.array(converted, self._kind), frozenset(more))


Conversions = tuple[Callable[[list[Any]], pa.Array], Callable[[Any], Any]]


def _conversions(column: Column, kind: pa.DataType) -> Conversions:
    """For a whole column (raises where a value does not fit), and for one value (raises, or gives what `kind` holds)."""
    match column.logical_type:
        case "date":
            return _formatted(column, kind) if column.format not in (None, "yyyy-MM-dd") else (_dates, _date)
        case "timestamp" if column.encoding:
            scale = 1_000 if column.encoding == "epoch-millis" else 1_000_000
            return lambda values: _epochs(values, scale), lambda value: _epoch(value, scale)
        case "timestamp":
            return _formatted(column, kind) if column.format else (_timestamps, _timestamp)
        case "time":
            return _times, _time
        case "object" | "array":
            return _contained(column, kind)
        case "number" if not column.decimal:
            return lambda values: _floats(values, kind), lambda value: _floats([value], kind)[0].as_py()
        case _:
            return lambda values: pa.array(values, kind), lambda value: pa.scalar(value, kind).as_py()


def _floats(values: list[Any], kind: pa.DataType) -> pa.Array:
    found = pa.array(values, kind)
    if pa.types.is_float32(kind) and not pc.all(pc.is_finite(found)).as_py():
        raise ValueError("a number is too great for 32 bits")
    return found


def _dates(values: list[Any]) -> pa.Array:
    return pc.cast(pa.array(values, pa.string()), pa.date32())


def _date(text: str) -> date:
    if not _DATE.match(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _timestamps(values: list[Any]) -> pa.Array:
    return _timestamps_of(pa.array(values, pa.string()))


def _timestamps_of(texts: pa.Array) -> pa.Array:
    if not pc.all(pc.match_substring_regex(texts, PLAIN_TIMESTAMP)).as_py():
        raise ValueError("not all plain")
    return pc.cast(texts, UTC_TIMESTAMP)


def _timestamp(text: str) -> datetime:
    found = _TIMESTAMP.match(text)
    if found is None:
        raise ValueError(text)
    day, clock, fraction, zone = found.groups()
    # A time without an offset is UTC; digits beyond the microsecond are cut off.
    part = f".{fraction[:6]:0<6}" if fraction else ""
    return _utc(datetime.fromisoformat(f"{day}T{clock}{part if len(clock) > 5 else ''}{(zone or 'Z').upper()}"))


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _epochs(values: list[Any], scale: int) -> pa.Array:
    return pc.cast(
        pa.array([None if v is None else _epoch_micros(v, scale) for v in values], pa.int64()), UTC_TIMESTAMP
    )


def _epoch(value: int | Decimal, scale: int) -> datetime:
    return pa.scalar(_epoch_micros(value, scale), UTC_TIMESTAMP).as_py()


def _epoch_micros(value: int | Decimal, scale: int) -> int:
    units = 1_000_000 // scale  # in a second
    if not EARLIEST * units <= value < (LATEST + 1) * units:
        raise ValueError(value)
    return int(value * scale)


def _times(values: list[Any]) -> pa.Array:
    texts = pa.array(values, pa.string())
    if not pc.all(pc.match_substring_regex(texts, TIME)).as_py():
        raise ValueError("not all times")
    return texts


def _time(text: str) -> str:
    if not re.search(TIME, text, re.ASCII):
        raise ValueError(text)
    return text


def _formatted(column: Column, kind: pa.DataType) -> Conversions:
    """Dates and times written as the contract's `format` says. Files repeat them, so what was read is remembered."""
    form = strptime_format(column.format or "", column.name)

    @lru_cache(maxsize=10_000)
    def one(text: str) -> date | datetime:
        moment = _utc(datetime.strptime(text, form))
        return moment.date() if pa.types.is_date(kind) else moment

    return lambda values: pa.array([None if v is None else one(v) for v in values], kind), one


def strptime_format(pattern: str, name: str) -> str:
    """Python's format of a JDK pattern. Raises SluiceError where it has letters that Python can't read."""
    parts = []
    for token in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']", pattern):
        text = token.group(0)
        if token.group(2):
            if text not in JDK_LETTERS:
                raise SluiceError(f"property {name}: format {pattern!r} has {text}, which is not understood")
            parts.append(JDK_LETTERS[text])
        else:
            literal = (token.group(1).replace("''", "'") or "'") if text.startswith("'") else text
            parts.append(literal.replace("%", "%%"))
    return "".join(parts)


def _contained(column: Column, kind: pa.DataType) -> Conversions:
    """Objects and arrays: as their JSON text, or with each member converted in its turn."""
    if pa.types.is_string(kind):

        def text(value: Any) -> str:
            return bytes(value).decode()

        return lambda values: pa.array([None if v is None else text(v) for v in values], kind), text
    if column.logical_type == "array" and column.items is not None:
        _, element = _conversions(column.items, arrow_type(column.items))

        def items(value: Sequence[Any]) -> list[Any]:
            return [None if v is None else element(v) for v in value]

        return lambda values: pa.array([None if v is None else items(v) for v in values], kind), items
    members = [(child.name, _conversions(child, arrow_type(child))[1]) for child in column.fields]

    def fields(value: Any) -> dict[str, Any]:
        held = ((name, getattr(value, name), convert) for name, convert in members)
        return {name: None if inner is None else convert(inner) for name, inner, convert in held}

    return lambda values: pa.array([None if v is None else fields(v) for v in values], kind), fields


def timestamps(texts: pa.Array) -> pa.Array:
    """ISO 8601 texts as moments; null where one cannot be read."""
    try:
        return _timestamps_of(texts)
    except _REFUSALS:
        return pa.array([_moment_or_none(text) for text in texts.to_pylist()], UTC_TIMESTAMP)


def _moment_or_none(text: str | None) -> datetime | None:
    try:
        return None if text is None else _timestamp(text)
    except (*_REFUSALS, ArithmeticError):
        return None
