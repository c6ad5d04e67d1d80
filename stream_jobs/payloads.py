"""Payloads → for each column of the contract the values that stand in them.

Nearly all payloads have the contract's form, for the gateway has checked them: msgspec decodes those straight into the
contract's types. The others (written past the gateway, or before the contract changed) are read value by value from the text
that stands in the JSON, so that a value which does not fit is seen and named instead of spoiling its row. Such a conversion
takes what loses nothing ("5" and 5.0 are the integer 5) and no more.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from operator import attrgetter
from typing import Any, Final

import msgspec

from catalog.contract import Column, Stream
from catalog.json_schema import integer_bounds
from stream_jobs.types import json_type

Pointer = tuple[str | int, ...]
NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\Z")
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_ANY = msgspec.json.Decoder()
# What msgspec raises for bytes that are no JSON, no UTF-8, or nested without end; no payload may stop a batch.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)


class Misfit:
    """Stands where a payload has a value that is not of the column's type."""


MISFIT: Final = Misfit()


@dataclass(frozen=True)
class Payloads:
    """`values[column][row]`: a value of `json_type`, None where there is none, or MISFIT. `unreadable`: rows that are no JSON
    object in UTF-8."""

    values: list[list[Any]]
    unreadable: list[int]


class PayloadReader:
    """Reads payloads of one stream; its decoder is made once."""

    def __init__(self, stream: Stream) -> None:
        self._columns = stream.columns
        self._lenient = [_lenient(column) for column in stream.columns]
        root = _Node()
        for column in stream.columns:
            root.place(column, column.pointer)
        self._decode = msgspec.json.Decoder(root.struct()).decode
        getters = [root.getter(column.pointer) for column in stream.columns]
        self._strict = _all_of(getters)

    def __call__(self, payloads: Sequence[bytes]) -> Payloads:
        """One value a column for each payload, in order."""
        decode, strict = self._decode, self._strict
        rows: list[Sequence[Any]] = []
        unreadable: list[int] = []
        nothing = (None,) * len(self._columns)
        for number, payload in enumerate(payloads):
            try:
                rows.append(strict(decode(payload)))
            except _UNREADABLE:
                try:
                    rows.append(self._one_by_one(payload))
                except _UNREADABLE:
                    rows.append(nothing)
                    unreadable.append(number)
        columns = zip(*rows, strict=True) if rows else (() for _ in self._columns)
        return Payloads([list(column) for column in columns], unreadable)

    def _one_by_one(self, payload: bytes) -> list[Any]:
        payload.decode()  # an unknown member that is no UTF-8 makes the whole payload unreadable
        known: dict[Pointer, Any] = {(): _RAW_OBJECT.decode(payload)}
        found = []
        for column, lenient in zip(self._columns, self._lenient, strict=True):
            text = _text_at(known, column.pointer)
            found.append(None if text is None else lenient(text))
        return found


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
    text = None if raw is None else bytes(raw).strip()
    return None if text == b"null" else text


def _members(text: bytes) -> Any:
    if text.startswith(b"{"):
        return _RAW_OBJECT.decode(text)
    return _RAW_LIST.decode(text) if text.startswith(b"[") else None


def _lenient(column: Column) -> Callable[[bytes], Any]:
    """JSON text of one value → a value of the column's `json_type`, or MISFIT."""
    convert = _converter(column)

    def of(text: bytes) -> Any:
        try:
            return convert(_TEXT.decode(text).encode() if text.startswith(b'"') else text)
        except (*_UNREADABLE, ValueError, ArithmeticError):
            return MISFIT

    return of


def _converter(column: Column) -> Callable[[bytes], Any]:
    match column.logical_type:
        case "integer":
            low, high = integer_bounds(column)
            return lambda text: _integer(text, low, high)
        case "number":
            return _decimal if column.decimal else _float
        case "boolean":
            return lambda text: {b"true": True, b"false": False}.get(text.lower(), MISFIT)
        case "timestamp" if column.encoding:
            return _decimal
        case "object" | "array":
            opening = b"{" if column.logical_type == "object" else b"["
            decoder: Any = msgspec.json.Decoder(json_type(column))
            return lambda text: _contained(text.strip(), opening, decoder)
        case _:
            return bytes.decode


def _decimal(text: bytes) -> Any:
    text = text.strip()
    return Decimal(text.decode()) if NUMBER.match(text) else MISFIT


def _integer(text: bytes, low: int, high: int) -> Any:
    number = _decimal(text)
    # Compared before it is made an int: 1e9999 is a short text and a very long int.
    if number is MISFIT or not low <= number <= high or number != int(number):
        return MISFIT
    return int(number)


def _float(text: bytes) -> Any:
    number = float(text) if NUMBER.match(text.strip()) else MISFIT
    return number if isinstance(number, float) and isfinite(number) else MISFIT


def _contained(text: bytes, opening: bytes, decoder: Any) -> Any:
    if not text.startswith(opening):
        return MISFIT
    _ANY.decode(text)
    return decoder.decode(text)


class _Node:
    """A place in the payload: a column, or what holds columns."""

    def __init__(self) -> None:
        self.column: Column | None = None
        self.children: dict[str | int, _Node] = {}

    def place(self, column: Column, pointer: Pointer) -> None:
        if not pointer:
            self.column = column
            return
        self.children.setdefault(pointer[0], _Node()).place(column, pointer[1:])

    def struct(self) -> Any:
        """A struct whose fields `f0`, `f1` … are the members that the contract names; all others are passed over."""
        fields: list[Any] = []
        names: dict[str, str] = {}
        for number, (name, child) in enumerate(self.children.items()):
            field = f"f{number}"
            names[field] = str(name)
            kind, default = child.member()
            fields.append((field, kind, default))
        return msgspec.defstruct("Payload", fields, rename=names, gc=False, frozen=True)

    def member(self) -> tuple[Any, Any]:
        if self.column is not None:
            return json_type(self.column) | None, None
        if any(isinstance(key, int) for key in self.children):
            return list[self.element()] | None, None  # type: ignore[misc]
        kind = self.struct()
        return kind, kind()

    def element(self) -> Any:
        """The type of an array's members: theirs if all columns in it agree, else text that is read one by one."""
        columns = [child.column for child in self.children.values()]
        kinds = [json_type(column) for column in columns if column is not None]
        same = len(kinds) == len(columns) and all(kind == kinds[0] for kind in kinds)
        return kinds[0] | None if same and kinds[0] in (str, float, int, bool, Decimal) else _Uneven

    def getter(self, pointer: Pointer) -> str | Callable[[Any], Any]:
        """How a column's value is got from the struct: the path of its attributes, or a function where a list is in between."""
        path: list[str] = []
        node = self
        for place, segment in enumerate(pointer):
            if isinstance(segment, int):
                return _indexed(attrgetter(".".join(path)), segment, len(pointer) - place)
            path.append(f"f{list(node.children).index(segment)}")
            node = node.children[segment]
        return ".".join(path)


class _Uneven(msgspec.Struct, tag="never in a payload"):
    """No member of a list is this: a payload that has the list is read one by one."""


def _indexed(holder: Callable[[Any], Any], index: int, depth: int) -> Callable[[Any], Any]:
    def get(row: Any) -> Any:
        held = holder(row)
        return held[index] if held is not None and depth == 1 and index < len(held) else None

    return get


def _all_of(getters: list[str | Callable[[Any], Any]]) -> Callable[[Any], Sequence[Any]]:
    """One function that gets all of them as a sequence."""
    if len(getters) > 1 and all(isinstance(getter, str) for getter in getters):
        return attrgetter(*getters)  # type: ignore[arg-type]
    each = [attrgetter(getter) if isinstance(getter, str) else getter for getter in getters]
    return lambda row: [get(row) for get in each]
