"""Payloads → for each column of the contract the values that stand in them.

Nearly all payloads have the contract's form, for the gateway has checked them: msgspec decodes those straight into the
contract's types. The others (written past the gateway, or before the contract changed) are read value by value from the text
that stands in the JSON, so that a value which does not fit is seen and named instead of spoiling its row. Such a conversion
takes what loses nothing ("5" and 5.0 are the integer 5) and no more.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, Final

import msgspec
import pyarrow as pa

from catalog.contract import Column, Stream
from catalog.json_schema import integer_bounds
from stream_jobs.shape import Node, Pointer
from stream_jobs.types import json_type

NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\Z")
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
# Rows that are decoded before their values are taken: so many stay in the processor's cache.
BLOCK = 512
# What msgspec raises for bytes that are no JSON, no UTF-8, or nested without end; no payload may stop a batch.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)


class Misfit:
    """Stands where a payload has a value that is not of the column's type."""


MISFIT: Final = Misfit()


@dataclass(frozen=True)
class Payloads:
    """`values[column][row]`: a value of `json_type` (JSON text as bytes where that is Raw), None where there is none, or MISFIT.
    `unreadable`: rows that are no JSON object in UTF-8."""

    values: list[list[Any]]
    unreadable: list[int]


class PayloadReader:
    """Reads payloads of one stream; its decoder is made once."""

    def __init__(self, stream: Stream) -> None:
        self._columns = stream.columns
        self._lenient = [lenient(column) for column in stream.columns]
        self._root = Node()
        for column in stream.columns:
            self._root.place(column, column.pointer)
        form = self._root.struct()
        self._nothing = form()
        self._decode = msgspec.json.Decoder(form).decode

    def __call__(self, payloads: pa.ChunkedArray) -> Payloads:
        """One value a column for each payload (binary, not null), in order."""
        found: dict[str, list[Any]] = {column.name: [] for column in self._columns}
        odd: list[int] = []
        check = None if _all_utf8(payloads) else bytes.decode
        everything = payloads.to_pylist()
        for start in range(0, len(everything), BLOCK):
            rows = self._decoded(everything[start : start + BLOCK], check, start, odd)
            for name, part in self._root.spread(rows).items():
                found[name] += part
        values = [found[column.name] for column in self._columns]
        unreadable = [row for row in odd if not self._read_one_by_one(everything[row], row, values)]
        return Payloads(values, unreadable)

    def _decoded(
        self, payloads: list[bytes], check: Callable[[bytes], object] | None, start: int, odd: list[int]
    ) -> list[Any]:
        """Structs of `Node.struct`. Adds to `odd` the rows that don't have its form, for which an empty one stands."""
        decode = self._decode
        rows: list[Any] = []
        for row, payload in enumerate(payloads, start):
            try:
                if check is not None:
                    check(payload)  # what no column takes has to be UTF-8, too
                rows.append(decode(payload))
            except _UNREADABLE:
                rows.append(self._nothing)
                odd.append(row)
        return rows

    def _read_one_by_one(self, payload: bytes, row: int, values: list[list[Any]]) -> bool:
        """Put what a payload has into `values`; False if it is unreadable."""
        try:
            payload.decode()
            known: dict[Pointer, Any] = {(): _RAW_OBJECT.decode(payload)}
            texts = [_text_at(known, column.pointer) for column in self._columns]
        except _UNREADABLE:
            return False
        for column, read, text in zip(values, self._lenient, texts, strict=True):
            column[row] = None if text is None else read(text)
        return True


def _all_utf8(payloads: pa.ChunkedArray) -> bool:
    try:
        payloads.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _text_at(known: dict[Pointer, Any], pointer: Pointer) -> bytes | None:
    """The JSON text at a pointer, or None where there is none or null."""
    above, last = pointer[:-1], pointer[-1]
    if above not in known:
        text = _text_at(known, above)
        known[above] = _members(text or b"")
    holder = known[above]
    try:
        raw = holder[last] if isinstance(holder, dict if isinstance(last, str) else list) else None
    except (KeyError, IndexError):
        raw = None
    return None if raw is None else text_of(raw)


def _members(text: bytes) -> Any:
    if text.startswith(b"{"):
        return _RAW_OBJECT.decode(text)
    return _RAW_LIST.decode(text) if text.startswith(b"[") else None


def text_of(raw: msgspec.Raw | bytes) -> bytes | None:
    """The JSON text of a value, or None if it is null."""
    text = bytes(raw)
    return None if text == b"null" else text


def unquoted(text: bytes) -> bytes:
    """What stands in a JSON text if that is a string, else the text. Raises ValueError."""
    return _TEXT.decode(text).encode() if text.startswith(b'"') else text


def json_text(raw: msgspec.Raw | bytes, opening: bytes) -> str | None:
    """The text of an object or array (`opening` is its bracket), which may stand in a string; None for null. Raises ValueError."""
    text = text_of(raw)
    if text is None:
        return None
    inner = unquoted(text).strip()
    if not inner.startswith(opening):
        raise ValueError("not what it has to be")
    if inner is not text:
        _members(inner)
    return inner.decode()


def decimal(text: bytes) -> Decimal:
    """The number that a text is. Raises ValueError."""
    text = text.strip()
    if not NUMBER.match(text):
        raise ValueError("no number")
    return Decimal(text.decode())


def lenient(column: Column) -> Callable[[bytes], Any]:
    """JSON text of one value → a value of the column's `json_type`, or MISFIT."""
    if json_type(column) is msgspec.Raw:
        return lambda text: text
    convert = _converter(column)

    def of(text: bytes) -> Any:
        try:
            return convert(unquoted(text))
        except (*_UNREADABLE, ValueError, ArithmeticError):
            return MISFIT

    return of


def _converter(column: Column) -> Callable[[bytes], Any]:
    match column.logical_type:
        case "integer":
            low, high = integer_bounds(column)
            return lambda text: _integer(text, low, high)
        case "number":
            return _float
        case "boolean":
            return lambda text: {b"true": True, b"false": False}.get(text.lower(), MISFIT)
        case "timestamp" if column.encoding:
            return decimal
        case "array" if column.items is not None:
            return _items(lenient(column.items))
        case "object":
            return _fields(json_type(column), {child.name: lenient(child) for child in column.fields})
        case _:
            return bytes.decode


def _integer(text: bytes, low: int, high: int) -> Any:
    number = decimal(text)
    # Compared before it is made an int: 1e9999 is a short text and a very long int.
    if not low <= number <= high or number != int(number):
        return MISFIT
    return int(number)


def _float(text: bytes) -> Any:
    number = float(text) if NUMBER.match(text.strip()) else MISFIT
    return number if isinstance(number, float) and isfinite(number) else MISFIT


def _items(item: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def of(text: bytes) -> Any:
        texts = map(text_of, _RAW_LIST.decode(text))
        found = [None if text is None else item(text) for text in texts]
        return MISFIT if MISFIT in found else found

    return of


def _fields(form: Any, members: dict[str, Callable[[bytes], Any]]) -> Callable[[bytes], Any]:
    def of(text: bytes) -> Any:
        raw = _RAW_OBJECT.decode(text)
        texts = {name: text_of(raw[name]) for name in members if name in raw}
        found = {name: None if text is None else members[name](text) for name, text in texts.items()}
        return MISFIT if MISFIT in found.values() else form(**found)

    return of
