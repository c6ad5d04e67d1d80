"""Values of a column as they stood in the payloads → an Arrow array of the column's type.

A whole column is converted at once by Arrow where all its values allow it, and value by value where one does not, so that the
others keep theirs. Both ways give the same result for the same value, whatever else is in the batch.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from catalog.contract import Column
from catalog.formats import format_reader
from catalog.json_schema import EARLIEST, LATEST
from stream_jobs.payloads import MISFIT, decimal, json_text, text_of, unquoted
from stream_jobs.types import UTC_TIMESTAMP, arrow_type

TIME = r"^([01]\d|2[0-3]):[0-5]\d(:([0-5]\d|60)(\.\d+)?)?([zZ]|[+-]\d\d:\d\d)?$"
# What Arrow's own parser reads like ours: seconds, at most 6 decimals, an offset.
PLAIN_TIMESTAMP = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)$"
_TIME = re.compile(TIME, re.ASCII)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?\s?([zZ]|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_REFUSALS = (
    pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ArithmeticError, ValueError, TypeError, RecursionError,
)  # fmt: skip
FIRST_DAY, LAST_DAY = pa.scalar(date.min, pa.date32()), pa.scalar(date.max, pa.date32())
FIRST_MOMENT, LAST_MOMENT = (pa.scalar(s, UTC_TIMESTAMP) for s in (EARLIEST * 1_000_000, LATEST * 1_000_000 + 999_999))
# Arrow also reads the year 0, which an offset may move into the year 1.
SECOND_DAY = pa.scalar((EARLIEST + 86_400) * 1_000_000, UTC_TIMESTAMP)
_DIGITS = Context(prec=80)  # of a decimal's 38, with whatever stands before and after them


@dataclass(frozen=True)
class Typed:
    """A column's array; `misfits` are the rows that have a value which is none of the type (null in the array)."""

    array: pa.Array
    misfits: frozenset[int]


class ColumnConverter:
    """Converts one column."""

    def __init__(self, column: Column) -> None:
        self._kind = arrow_type(column)
        self._all, self._one = _conversions(column, self._kind)

    def __call__(self, values: list[Any]) -> Typed:
        """`values`: of the column's `json_type`, None or MISFIT."""
        try:
            return Typed(self._all(values), frozenset())
        except _REFUSALS:
            return self._one_by_one(values)

    def _one_by_one(self, values: list[Any]) -> Typed:
        converted: list[Any] = []
        misfits = []
        for row, value in enumerate(values):
            try:
                if value is MISFIT:
                    raise ValueError("not of the column's type")
                converted.append(None if value is None else self._one(value))
            except _REFUSALS:
                converted.append(None)
                misfits.append(row)
        return Typed(pa.array(converted, self._kind), frozenset(misfits))


Conversions = tuple[Callable[[list[Any]], pa.Array], Callable[[Any], Any]]


def _conversions(column: Column, kind: pa.DataType) -> Conversions:
    """For a whole column (raises where a value does not fit), and for one value (raises, or gives what `kind` holds)."""
    match column.logical_type:
        case "date" | "timestamp" | "time" if column.format and (column.logical_type, column.format) != ISO_DATE:
            return _formatted(column, kind)
        case "date":
            return _dates, _date
        case "timestamp" if column.encoding:
            digits = 3 if column.encoding == "epoch-millis" else 6
            return _millis if digits == 3 else _seconds, lambda value: _epoch(value, digits)
        case "timestamp":
            return _timestamps, _timestamp
        case "time":
            return _times, _time
        case "array" if column.items is not None:
            return _lists(column.items, kind)
        case "object" if column.fields:
            return _objects(column.fields, kind)
        case "object" | "array":
            opening = b"{" if column.logical_type == "object" else b"["
            return _each(lambda value: json_text(value, opening), kind)
        case "number" if column.decimal:
            return lambda values: _numbers(values).cast(kind), lambda value: _decimal(value, kind)
        case "number":
            return lambda values: _floats(values, kind), lambda value: _floats([value], kind)[0].as_py()
        case _:
            return lambda values: pa.array(values, kind), lambda value: pa.scalar(value, kind).as_py()


ISO_DATE = ("date", "yyyy-MM-dd")


def _each(one: Callable[[Any], Any], kind: pa.DataType) -> Conversions:
    return lambda values: pa.array([None if v is None else one(v) for v in values], kind), one


def _floats(values: list[Any], kind: pa.DataType) -> pa.Array:
    found = pa.array(values, kind)
    if pa.types.is_float32(kind) and not pc.all(pc.is_finite(found)).as_py():
        raise ValueError("a number is too great for 32 bits")
    return found


def _numbers(values: list[Any]) -> pa.Array:
    """The texts of numbers; one that stands in a string is none to Arrow, and so read one by one."""
    return pa.array([None if v is None else text_of(v) for v in values], pa.string())


def _number(value: msgspec.Raw | bytes) -> Decimal | None:
    text = text_of(value)
    return None if text is None else decimal(unquoted(text))


def _decimal(value: msgspec.Raw | bytes, kind: pa.Decimal128Type) -> Decimal | None:
    number = _number(value)
    if number is None:
        return None
    fitted = number.quantize(Decimal(1).scaleb(-kind.scale), context=_DIGITS)
    if fitted != number or len(fitted.as_tuple().digits) > kind.precision:
        raise ValueError("it would lose digits")
    return fitted


def _dates(values: list[Any]) -> pa.Array:
    return _within(pc.cast(pa.array(values, pa.string()), pa.date32()), FIRST_DAY, LAST_DAY)


def _within(moments: pa.Array, first: pa.Scalar, last: pa.Scalar) -> pa.Array:
    """The same. Raises ValueError where a moment is out of the years that every engine can show."""
    if pc.any(pc.or_(pc.less(moments, first), pc.greater(moments, last))).as_py():
        raise ValueError("out of the years 1 to 9999")
    return moments


def _date(text: str) -> date:
    if not _DATE.match(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _timestamps(values: list[Any]) -> pa.Array:
    return _timestamps_of(pa.array(values, pa.string()))


def _timestamps_of(texts: pa.Array) -> pa.Array:
    if not pc.all(pc.match_substring_regex(texts, PLAIN_TIMESTAMP)).as_py():
        raise ValueError("not all plain")
    return _within(pc.cast(texts, UTC_TIMESTAMP), SECOND_DAY, LAST_MOMENT)


def _timestamp(text: str) -> datetime:
    found = _TIMESTAMP.match(text)
    if found is None:
        raise ValueError(text)
    day, clock, fraction, zone = found.groups()
    # A time without an offset is UTC; digits beyond the microsecond are cut off.
    part = f".{fraction[:6]:0<6}" if fraction else ""
    leap = clock.endswith(":60")
    clock = clock.replace(":60", ":59") if leap else clock
    moment = datetime.fromisoformat(f"{day}T{clock}{part if len(clock) > 5 else ''}{(zone or 'Z').upper()}").astimezone(
        UTC
    )
    if leap and (moment.hour, moment.minute) != (23, 59):
        raise ValueError("a leap second is the last of a day of UTC")
    # Clocks that count no leap seconds, as all tables do, show the second after it.
    return moment + timedelta(seconds=1) if leap else moment


def _millis(values: list[Any]) -> pa.Array:
    # Of no given type at first: as int64, Arrow would take 1.5 for 1.
    micros = pc.multiply_checked(pa.array(values).cast(pa.int64()), 1000)
    return _within(micros.cast(UTC_TIMESTAMP), FIRST_MOMENT, LAST_MOMENT)


def _seconds(values: list[Any]) -> pa.Array:
    found = _numbers(values).cast(pa.decimal128(18, 6))
    micros = pc.multiply(found, pa.scalar(Decimal(1_000_000), pa.decimal128(7, 0))).cast(pa.int64())
    return _within(micros.cast(UTC_TIMESTAMP), FIRST_MOMENT, LAST_MOMENT)


def _epoch(value: int | Decimal | msgspec.Raw | bytes, digits: int) -> datetime | None:
    """The moment of a number of which so many decimals are whole microseconds; further ones are cut off."""
    number = Decimal(value) if isinstance(value, int) else value if isinstance(value, Decimal) else _number(value)
    if number is None:
        return None
    units = 10 ** (6 - digits)  # in a second
    if not EARLIEST * units <= number < (LATEST + 1) * units:
        raise ValueError("out of the years 1 to 9999")
    micros = number.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR, context=_DIGITS).scaleb(digits)
    return pa.scalar(int(micros), UTC_TIMESTAMP).as_py()


def _times(values: list[Any]) -> pa.Array:
    texts = pa.array(values, pa.string())
    if not pc.all(pc.match_substring_regex(texts, TIME)).as_py():
        raise ValueError("not all times")
    return texts


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    return text


def _formatted(column: Column, kind: pa.DataType) -> Conversions:
    return _each(format_reader(column), kind)


def _lists(items: Column, kind: pa.ListType) -> Conversions:
    """The items of all lists are one column, which is converted like any other."""
    whole, one = _conversions(items, kind.value_type)

    def lists(values: list[Any]) -> pa.Array:
        ends = [0]
        flat: list[Any] = []
        for value in values:
            flat += value or ()
            ends.append(len(flat))
        absent = pa.array([value is None for value in values], pa.bool_())
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), whole(flat), type=kind, mask=absent)

    def single(value: Sequence[Any]) -> list[Any]:
        return [None if item is None else one(item) for item in value]

    return lists, single


def _objects(fields: tuple[Column, ...], kind: pa.StructType) -> Conversions:
    """Each member is a column over all objects."""
    members = [(field.name, *_conversions(child, field.type)) for child, field in zip(fields, kind, strict=True)]

    def objects(values: list[Any]) -> pa.Array:
        if MISFIT in values:
            raise ValueError("not all objects")
        columns = [whole([None if v is None else getattr(v, name) for v in values]) for name, whole, _ in members]
        absent = pa.array([value is None for value in values], pa.bool_())
        return pa.StructArray.from_arrays(columns, fields=list(kind), mask=absent)

    def single(value: Any) -> dict[str, Any]:
        held = ((name, getattr(value, name), one) for name, _, one in members)
        return {name: None if inner is None else one(inner) for name, inner, one in held}

    return objects, single


def timestamps(texts: pa.Array) -> pa.Array:
    """ISO 8601 texts as moments; null where one cannot be read."""
    try:
        return _timestamps_of(texts)
    except _REFUSALS:
        return pa.array([_moment_or_none(text) for text in texts.to_pylist()], UTC_TIMESTAMP)


def _moment_or_none(text: str | None) -> datetime | None:
    try:
        return None if text is None else _timestamp(text)
    except _REFUSALS:
        return None
