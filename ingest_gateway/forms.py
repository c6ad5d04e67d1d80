"""HTML forms to one JSON event: the contract's types say what the text of each field means."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, tzinfo
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from catalog.contract import Column, Stream
from ingest_gateway import bodies
from ingest_gateway.bodies import Events
from ingest_gateway.problems import Problem
from ingest_gateway.typed_text import in_zone, put, typed

MOST_FIELDS = 1000

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
    """One event. An empty field is absent, a field that the contract does not name is text, a time without a zone is UTC."""
    value: dict[str, Any] = {}
    known = named(stream)
    for name, given in grouped(fields).items():
        column = known.get(name)
        meant = given[-1] or None if column is None else meaning(column, given)
        if meant is not None:
            put(value, column.pointer if column else (name,), meant)
    return payload(value)


def payload(value: dict[str, Any]) -> Events:
    """The one event of a form. Raises Problem 400 where JSON cannot carry what it holds."""
    try:
        return bodies.one_event(orjson.dumps(value))
    except TypeError:  # a lone surrogate
        raise Problem(400, "not-a-form", "The form holds text that JSON cannot carry") from None


def grouped(fields: Fields) -> dict[str, list[str]]:
    """All texts of each name, in the order sent."""
    texts: dict[str, list[str]] = {}
    for name, text in fields:
        texts.setdefault(name, []).append(text)
    return texts


def named(stream: Stream) -> dict[str, Column]:
    """The fields of a stream: its columns, and with dotted names those inside an object."""
    return {name: column for column in stream.columns for name, column in _named(column, "")}


def _named(column: Column, above: str) -> list[tuple[str, Column]]:
    name = f"{above}{column.name}"
    return [(name, column), *(pair for inner in column.fields for pair in _named(inner, f"{name}."))]


def meaning(column: Column, given: Sequence[str], zone: tzinfo = UTC) -> Any:
    """What the texts of a field mean, None for an absent one. Raises SkippedTime."""
    if column.logical_type == "array" and not (len(given) == 1 and given[0].lstrip().startswith("[")):
        return items(column, given, zone)
    # The last one counts: a hidden "false" before a checkbox is how a form says "unchecked".
    return _typed(column, given[-1], zone)


def items(column: Column, given: Sequence[str], zone: tzinfo = UTC) -> list[Any] | None:
    """A text for each item of an array, None for none. Raises SkippedTime."""
    return [_typed(column.items, text, zone) for text in given if text] or None


def _typed(column: Column | None, text: str, zone: tzinfo) -> Any:
    return typed(column, in_zone(column, text, zone) if column else text)
