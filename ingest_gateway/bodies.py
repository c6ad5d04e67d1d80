"""Bytes to events: what a body holds, event by event, each with the very bytes that were sent."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from ingest_gateway.problems import Problem

BROKEN: Any = object()  # stands for a value that could not be parsed

JSON = "application/json"
LINES = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
)
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENT_BATCH = "application/cloudevents-batch+json"
CLOUDEVENT_LINES = (
    "application/cloudevents+x-ndjson",
    "application/cloudevents+ndjson",
    "application/cloudevents+jsonl",
)
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
TAKEN = (JSON, *LINES, CLOUDEVENT, CLOUDEVENT_BATCH, *CLOUDEVENT_LINES, URLENCODED, MULTIPART)

_JSON_LIKE = re.compile(r"(application|text)/([a-z0-9.+-]+\+)?json\Z")
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_parse = msgspec.json.Decoder().decode
_VALUES_AN_EVENT = 50  # on average in an array; see `bound_elements`


@dataclass(slots=True)
class Events:
    """The events of one body, in the order sent, as columns: `payloads[i]` was parsed to `values[i]`, or is in `broken`."""

    payloads: list[bytes]
    values: list[Any]
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)  # index → pointer, message
    batch: bool = True
    ids: list[str | None] | None = None
    attributes: list[Mapping[str, str] | None] | None = None  # CloudEvents' context attributes
    prefix: str = ""  # of pointers: where in what was sent the payload is


@lru_cache(maxsize=256)
def media_type(header: str | None) -> str:
    """The media type, lower-case. A body without one is taken for JSON. Raises Problem 415."""
    if not header:
        return JSON
    if len(header) > 500:  # each that is taken is remembered
        raise Problem(415, "media-type", "Content-Type is longer than 500 characters")
    kind, *rest = header.split(";")
    kind = kind.strip().lower()
    parameters = {
        name.strip().lower(): value.strip().strip('"') for name, _, value in (part.partition("=") for part in rest)
    }
    charset = parameters.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise Problem(415, "charset", f"charset is {charset}; send UTF-8")
    if kind not in TAKEN and not is_json(kind):
        raise Problem(415, "media-type", f"Content-Type is {kind}; send one of {', '.join(TAKEN)}",
                      headers={"accept-post": ", ".join(TAKEN)})  # fmt: skip
    return kind


def is_json(kind: str) -> bool:
    """Whether a media type's content is one JSON text."""
    return kind == JSON or (_JSON_LIKE.match(kind) is not None and not kind.startswith("application/cloudevents"))


def json_events(body: bytes, most: int) -> Events:
    """An object is one event, an array is many. Raises Problem: 400 where it cannot be split, 413 where it is too many."""
    if body.lstrip(b" \t\r\n")[:1] == b"[":
        return _parsed(elements(body, most))
    return one_event(body)


def line_events(body: bytes, most: int) -> Events:
    """NDJSON: a line that is not JSON is one refused event. Blank lines are nothing. Raises Problem 413."""
    return _parsed(lines(body, most))


def lines(body: bytes, most: int) -> list[bytes]:
    """The lines without their ends (LF or CRLF) and without blank ones."""
    parts = body.split(b"\n", 2 * most + 1)
    if len(parts) > 2 * most + 1:
        raise too_many(most)
    if b"\r" in body:
        parts = [part[:-1] if part.endswith(b"\r") else part for part in parts]
    parts = list(filter(bytes.strip, parts))
    if len(parts) > most:
        raise too_many(most)
    return parts


def elements(body: bytes, most: int) -> list[bytes]:
    """The elements of a JSON array, each by its own bytes. Raises Problem 400 or 413."""
    bound_elements(body, most)
    try:
        parts = [bytes(part) for part in _LIST.decode(body)]
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Problem(400, "not-json", f"The body is not JSON: {reason(body)}") from None
    if len(parts) > most:
        raise too_many(most)
    return parts


def bound_elements(body: bytes, most: int) -> None:
    """Raises Problem 413 for an array of so many values that to split it would cost memory, at some 40 bytes each."""
    if body.count(b",") > most * _VALUES_AN_EVENT:
        detail = f"The array holds more than {most * _VALUES_AN_EVENT} values; send fewer events at a time"
        raise Problem(413, "too-many-values", detail)


def one_event(body: bytes) -> Events:
    """A body that is one event whatever it holds (CloudEvents' binary mode). Raises Problem 400."""
    try:
        return Events([body], [_parse(body)], batch=False)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Problem(400, "not-json", f"The body is not JSON: {reason(body)}") from None


def parse(payload: bytes) -> Any:
    """The value of one JSON text. Raises ValueError with a reason that a sender can act on."""
    try:
        return _parse(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ValueError(reason(payload)) from None


def parse_all(payloads: Sequence[bytes]) -> list[Any]:
    """The values of JSON texts. Raises a ValueError or RecursionError where any is none."""
    return [_parse(payload) for payload in payloads]


def decoded(text: str) -> bytes:
    """The bytes of a `data_base64`. Raises ValueError."""
    return base64.b64decode(text, validate=True)


def reason(payload: bytes) -> str:
    """Why these bytes are not one JSON text, with the place. Never quotes them."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as failure:
        return str(failure)
    # The two parsers agree on what JSON is; should they ever not, the event is still refused.
    return "not valid JSON"


def _parsed(payloads: list[bytes]) -> Events:
    try:
        # A loop without a handler inside is what a clean batch needs.
        return Events(payloads, parse_all(payloads))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _parsed_one_by_one(payloads)


def _parsed_one_by_one(payloads: Sequence[bytes]) -> Events:
    values, broken = [], {}
    for index, payload in enumerate(payloads):
        try:
            values.append(_parse(payload))
        except (msgspec.DecodeError, ValueError, RecursionError):
            values.append(BROKEN)
            broken[index] = ("", f"is not JSON: {reason(payload)}")
    return Events(list(payloads), values, broken)


def too_many(most: int) -> Problem:
    """The answer to more events than a request may hold."""
    return Problem(413, "too-many-events", f"A request may hold {most} events; send fewer at a time")
