"""Rows of a table (CSV, Parquet) to payloads: which column a header means, and what a cell holds by the contract."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from math import isfinite
from typing import Any

import orjson

from catalog.contract import Column, Stream
from catalog.errors import SluiceError

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
WHOLE = re.compile(r"[+-]?[0-9]{1,40}\Z")
TRUE, FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}
MAX_EXPONENT = 300  # a double holds no more, and writing 1e999999999 out would take a gigabyte

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Header:
    """What the columns of a file mean: a place in the payload for each, and the contract's column where there is one."""

    places: tuple[Place, ...]
    columns: tuple[Column | None, ...]
    unknown: tuple[str, ...]

    def payload(self, cells: Sequence[Any], value: Callable[[Column | None, Any], Any]) -> bytes:
        """The JSON object of a row; a cell that `value` turns into None is left out."""
        found: dict[str, Any] = {}
        for place, column, cell in zip(self.places, self.columns, cells, strict=True):
            converted = value(column, cell)
            if converted is not None:
                _put(found, place, converted)
        return orjson.dumps(found)


def header(names: Sequence[str], stream: Stream) -> Header:
    """Match a file's headers to the contract's columns. Raises SluiceError where two headers mean one column.

    A header is a column by its name, its businessName, or either in lower case with runs of other characters as `_`.
    """
    by_spelling: dict[str, Column] = {}
    for spell in (_normal, str.casefold, str):  # a closer spelling wins over a looser one
        for text in (lambda c: c.title, lambda c: c.name):
            by_spelling |= {spell(text(column)): column for column in stream.columns}
    columns = tuple(_first(by_spelling, name.strip()) for name in names)
    places = tuple(c.pointer if c else (name.strip(),) for c, name in zip(columns, names, strict=True))
    for n, place in enumerate(places):
        if place == ("",):
            raise SluiceError(f"header {n + 1} is empty: each column needs a name in the first line")
        if place in places[:n]:
            other = names[places.index(place)]
            raise SluiceError(
                f"headers {other!r} and {names[n]!r} both mean {'/'.join(map(str, place))}: keep one of them"
            )
    unknown = tuple(name for name, column in zip(names, columns, strict=True) if column is None)
    return Header(places, columns, unknown)


def from_text(column: Column | None, cell: str) -> Any:
    """A CSV cell by its column's type. Empty is None; what does not fit stays text, so that the gateway can name it."""
    if cell == "" or column is None:
        return cell or None
    text = cell.strip()
    kind = "number" if column.encoding else column.logical_type
    if kind in ("integer", "number"):
        return _number(text, cell)
    if kind == "boolean":
        return True if text.lower() in TRUE else False if text.lower() in FALSE else cell
    if kind in ("object", "array"):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return cell
    if kind in ("date", "timestamp", "time"):
        return text or None
    return cell


def from_value(column: Column | None, cell: Any) -> Any:
    """A value out of Parquet as JSON has it. Times without a zone are UTC; not-a-number is None, as a gap is."""
    match cell:
        case datetime():
            moment = cell if cell.tzinfo else cell.replace(tzinfo=UTC)
            if column and column.encoding:
                micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (moment.resolution)
                return micros // 1000 if column.encoding == "epoch-millis" else micros / 1_000_000
            if column and column.logical_type == "date" and moment.time() == time():
                return moment.date().isoformat()
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return cell.isoformat()
        case Decimal():
            return orjson.Fragment(format(cell, "f")) if cell.is_finite() else None
        case float():
            return cell if isfinite(cell) else None
        case int() if not isinstance(cell, bool) and not -(2**63) <= cell < 2**64:
            return orjson.Fragment(str(cell))
        case bytes():
            return cell.decode("utf-8")
        case Mapping():
            children = {c.name: c for c in column.fields} if column else {}
            return {str(k): from_value(children.get(k), v) for k, v in cell.items()}
        case list() | tuple():
            return [from_value(column.items if column else None, item) for item in cell]
        case _:
            return cell


def _number(text: str, cell: str) -> Any:
    # The digits are passed on as they are: a float between would change 0.1000 or a long id.
    if NUMBER.match(text) and "e" not in text.lower():
        return orjson.Fragment(text)
    if WHOLE.match(text):
        return orjson.Fragment(str(int(text)))
    try:
        value = Decimal(text)
    except InvalidOperation:
        return cell
    if not value.is_finite() or abs(value.adjusted()) > MAX_EXPONENT or "_" in text:
        return cell
    return orjson.Fragment(format(value, "f"))


def _put(found: dict[str, Any], place: Place, value: Any) -> None:
    """Set a value at a JSON pointer's place, making the objects and arrays above it."""
    here: Any = found
    for step, following in pairwise(place):
        below: Any = [] if isinstance(following, int) else {}
        if isinstance(here, list):
            here.extend([None] * (int(step) + 1 - len(here)))
            if here[int(step)] is None:
                here[int(step)] = below
            here = here[int(step)]
        else:
            here = here.setdefault(str(step), below)
    last = place[-1]
    if isinstance(here, list):
        here.extend([None] * (int(last) + 1 - len(here)))
        here[int(last)] = value
    else:
        here[str(last)] = value


def _normal(name: str) -> str:
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def _first(by_spelling: Mapping[str, Column], name: str) -> Column | None:
    for spelling in (name, name.casefold(), _normal(name)):
        if spelling in by_spelling:
            return by_spelling[spelling]
    return None
