"""Text to JSON values by a contract's types: what a form's field, or a CSV's cell, means."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from catalog.contract import Column

TRUE, FALSE = {"true", "t", "yes", "y", "1", "on"}, {"false", "f", "no", "n", "0", "off"}
MAX_EXPONENT = 300  # a double holds no more, and writing 1e999999999 out would take a gigabyte
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}\Z")
# What <input type="datetime-local"> sends: no zone, and seconds only where they are not zero.
_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?\Z", re.ASCII)


def typed(column: Column | None, text: str) -> Any:
    """The value that a text means, None for an empty one. What has no meaning stays text, so that it is refused with its place."""
    if text == "" or column is None:
        return text or None
    plain = text.strip()
    if column.encoding:
        return _epoch(plain, 1000 if column.encoding == "epoch-millis" else 1, text)
    match column.logical_type:
        case "integer" | "number":
            return _number(plain, text)
        case "boolean":
            return True if plain.lower() in TRUE else False if plain.lower() in FALSE else text
        case "object" | "array":
            try:
                return orjson.loads(plain)
            except orjson.JSONDecodeError:
                return text
        case "date" | "timestamp" | "time":
            return plain or None
        case _:
            return text


class SkippedTime(ValueError):
    """A local time that never was: the clocks of its zone were put forward over it."""


def in_zone(column: Column, text: str, zone: tzinfo = UTC) -> str:
    """The text of a timestamp with the offset that it lacks; of a time that the clocks showed twice the first is meant.

    Raises SkippedTime.
    """
    local = _LOCAL.match(text.strip()) if column.logical_type == "timestamp" and not column.format else None
    if local is None:
        return text
    try:
        return (
            f"{local[1]}T{local[2]}{local[3] or ':00'}{_offset(datetime.fromisoformat(f'{local[1]}T{local[2]}'), zone)}"
        )
    except (OverflowError, ValueError) as failure:
        if isinstance(failure, SkippedTime):
            raise
        return text  # a month 13: refused with its place


def _offset(local: datetime, zone: tzinfo) -> str:
    if zone is UTC:
        return "Z"
    moment = local.replace(tzinfo=zone)
    if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise SkippedTime(f"{local.isoformat()} is no time in {zone}")
    return moment.isoformat()[
        19:25
    ]  # hours and minutes: offsets of old local mean times have seconds, which no standard writes


def put(value: dict[str, Any], pointer: Sequence[str | int], typed: Any) -> None:
    """Set the place that a pointer names, making the objects and lists on the way. A place that is taken stays."""
    node: Any = value
    for step, following in zip(pointer, [*pointer[1:], None], strict=True):
        fresh: Any = typed if following is None else [] if isinstance(following, int) else {}
        if isinstance(node, list) and isinstance(step, int):
            node.extend([None] * (step + 1 - len(node)))
            if node[step] is None:
                node[step] = fresh
            node = node[step]
        elif isinstance(node, dict):
            node = node.setdefault(str(step), fresh)
        else:
            return


def _number(plain: str, text: str) -> Any:
    # The digits are passed on as they are: a float between would change 0.1000 or a long id.
    if _NUMBER.match(plain) and "e" not in plain.lower():
        return orjson.Fragment(plain)
    if _WHOLE.match(plain):
        return orjson.Fragment(str(int(plain)))
    try:
        value = Decimal(plain)
    except InvalidOperation:
        return text
    if not value.is_finite() or abs(value.adjusted()) > MAX_EXPONENT or "_" in plain:
        return text
    return orjson.Fragment(format(value, "f"))


def _epoch(plain: str, unit: int, text: str) -> Any:
    number = _number(plain, text)
    if isinstance(number, orjson.Fragment):
        return number
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return text
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // moment.resolution
    return micros // 1000 if unit == 1000 else micros / 1_000_000
