"""Values that a contract states (bounds, lists of values) against columns of their type."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.contract import Column
from catalog.errors import SluiceError
from stream_jobs.columns import ColumnConverter
from stream_jobs.payloads import lenient
from stream_jobs.types import arrow_type, describe

Mask = NDArray[np.bool_]
_EXACT = Context(prec=700)  # digits of any double, written out


def literal(column: Column, value: Any) -> Any:
    """A value of the contract (YAML) as the column holds it. Raises SluiceError where it is no value of its type."""
    if column.logical_type not in ("date", "timestamp"):
        return Decimal(str(value)) if column.decimal else value
    if column.format is None and isinstance(value, str):
        return _moment(column, value)
    read: date | None = (
        ColumnConverter(column)([str(value).encode() if column.encoding == "epoch-seconds" else value]).array[0].as_py()
    )
    if read is None:
        raise SluiceError(f"property {column.name}: {value!r} is not {describe(column)}")
    return read


def _moment(column: Column, text: str) -> date:
    """ISO 8601, which a bound is also for times that are sent as numbers."""
    try:
        if column.logical_type == "date":
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise SluiceError(f"property {column.name}: {text!r} is no {column.logical_type} in ISO 8601") from None


def contained(column: Column, value: Any) -> Any:
    """A list or object of the contract (YAML) as the column gives it back: typed, or as JSON where it is kept as text."""
    if pa.types.is_string(arrow_type(column)):
        return value
    return ColumnConverter(column)([lenient(column)(msgspec.json.encode(value))]).array[0].as_py()


def parsed(text: str) -> Any:
    """JSON that is kept as text; the text itself where it has a number that no double holds."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


def held_by(kind: pa.DataType, value: Any) -> bool:
    """Whether a column of that type can have this value."""
    try:
        return bool(pa.types.is_floating(kind) or pa.scalar(value, kind).as_py() == value)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return False


def comparison(column: Column, bound: Any, compare: Callable[..., Any]) -> Callable[[pa.Array], Mask]:
    """Rows for which `compare(value, bound)` is true; null rows are none."""
    kind = arrow_type(column)
    value = literal(column, bound)
    if pa.types.is_floating(kind):
        value = float(value)
    elif pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        value = _next(column, Decimal(str(value)), compare)
        value = int(value) if pa.types.is_integer(kind) else value
        if not held_by(kind, value):
            # Beyond all values of the column: they are all on one side of it.
            always = bool(compare(pa.scalar(0.0), pa.scalar(float(value))).as_py())
            return lambda array: np.asarray(pc.is_valid(array), dtype=np.bool_) & always
    scalar = pa.scalar(value, kind)

    def broken(array: pa.Array) -> Mask:
        return np.asarray(pc.fill_null(compare(array, scalar), False), dtype=np.bool_)

    return broken


def _next(column: Column, bound: Decimal, compare: Callable[..., Any]) -> Decimal:
    """The next value of the column's steps that is as good a bound: no value lies between the two."""
    # v < 0.5 and v >= 0.5 of whole numbers are v < 1 and v >= 1; v > 0.5 and v <= 0.5 are v > 0 and v <= 0.
    up = compare in (pc.less, pc.greater_equal)
    step = Decimal(1).scaleb(-(column.decimal[1] if column.decimal else 0))
    return bound.quantize(step, rounding=ROUND_CEILING if up else ROUND_FLOOR, context=_EXACT)
