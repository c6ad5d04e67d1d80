"""Rows of a table (CSV, Parquet) to payloads: which column a header means, and what a value of Parquet is in JSON."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson

from catalog.contract import Column, Stream
from catalog.errors import SluiceError
from ingest_gateway.typed_text import put

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
                put(found, place, converted)
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


def _normal(name: str) -> str:
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def _first(by_spelling: Mapping[str, Column], name: str) -> Column | None:
    for spelling in (name, name.casefold(), _normal(name)):
        if spelling in by_spelling:
            return by_spelling[spelling]
    return None
