"""HTML forms to one JSON event: the contract's types say what the text of each field means."""

import re
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from catalog.contract import Column, Stream
from ingest_gateway.bodies import Events
from ingest_gateway.problems import Problem

MOST_FIELDS = 1000
CHECKED, UNCHECKED = {"on", "true", "1", "yes"}, {"off", "false", "0", "no"}
# What <input type="datetime-local"> sends: no zone, and seconds only where they are not zero.
_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?\Z")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})([eE][+-]?[0-9]{1,3})?\Z")

Fields = list[tuple[str, str]]


def urlencoded(body: bytes) -> Fields:
    """Names and texts in the order sent. Raises Problem 400."""
    try:
        text = body.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict")
    except ValueError:
        detail = f"The form is not urlencoded UTF-8 of at most {MOST_FIELDS} fields"
        raise Problem(400, "not-a-form", detail) from None


async def multipart(body: bytes, content_type: str, largest: int) -> Fields:
    """Names and texts in the order sent. Raises Problem 400, for files too: an event has no place for them."""
    headers = Headers({"content-type": content_type})
    parser = MultiPartParser(headers, _once(body), max_files=0, max_fields=MOST_FIELDS, max_part_size=largest)
    try:
        form = await parser.parse()
    except MultiPartException as failure:
        raise Problem(400, "not-a-form", f"The form cannot be read: {failure.message}") from None
    except (ValueError, KeyError, LookupError):
        raise Problem(400, "not-a-form", "The form cannot be read: it is no multipart/form-data in UTF-8") from None
    return [(name, text) for name, text in form.multi_items() if isinstance(text, str)]


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def event(fields: Fields, stream: Stream) -> Events:
    """One event. An empty field is absent; a field that the contract does not name is kept as text."""
    value: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    for name, text in fields:
        texts.setdefault(name, []).append(text)
    known = {name: column for column in stream.columns for name, column in _named(column, "")}
    for name, given in texts.items():
        column = known.get(name)
        typed = given[-1] or None if column is None else _typed(column, given)
        if typed is not None:
            _put(value, column.pointer if column else (name,), typed)
    try:
        payload = orjson.dumps(value)
    except TypeError:  # a lone surrogate, or a number beyond 64 bits
        raise Problem(400, "not-a-form", "The form holds text or numbers that JSON cannot carry") from None
    return Events([payload], [orjson.loads(payload)], batch=False)


def _named(column: Column, above: str) -> list[tuple[str, Column]]:
    """The fields of a column: itself, and with dotted names those inside an object."""
    name = f"{above}{column.name}"
    return [(name, column), *(pair for inner in column.fields for pair in _named(inner, f"{name}."))]


def _typed(column: Column, given: Sequence[str]) -> Any:
    """The value that a text means for a column, None for an absent one. What has no meaning stays text, to be refused."""
    if column.logical_type == "array":
        item = column.items
        if len(given) == 1 and given[0].lstrip().startswith("["):
            return _json(given[0])
        return [_scalar(item, text) if item else text for text in given if text] or None
    # The last one counts: a hidden "false" before a checkbox is how a form says "unchecked".
    text = given[-1]
    if text == "":
        return None
    return _json(text) if column.logical_type == "object" else _scalar(column, text)


def _scalar(column: Column, text: str) -> Any:
    match column.logical_type:
        case "integer" if _WHOLE.match(text.strip()):
            return int(text)
        case "number":
            return _number(text.strip())
        case "boolean":
            low = text.strip().lower()
            return True if low in CHECKED else False if low in UNCHECKED else text
        case "timestamp" if column.encoding:
            return _epoch(text.strip(), 1000 if column.encoding == "epoch-millis" else 1)
        case "timestamp" if not column.format and (local := _LOCAL.match(text)):
            return f"{local[1].replace(' ', 'T')}{local[2] or ':00'}Z"
        case _:
            return text


def _number(text: str) -> Any:
    if _WHOLE.match(text):
        return int(text)
    # JSON has no infinity: 1e999 stays text, to be refused.
    return float(text) if _NUMBER.match(text) and isfinite(float(text)) else text


def _epoch(text: str, unit: int) -> Any:
    if _NUMBER.match(text):
        return _number(text)
    try:
        seconds = datetime.fromisoformat(text + "+00:00" if _LOCAL.match(text) else text).timestamp()
    except ValueError:
        return text
    return round(seconds * unit)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _put(value: dict[str, Any], pointer: Sequence[str | int], typed: Any) -> None:
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
