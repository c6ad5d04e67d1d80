"""CloudEvents 1.0 over HTTP: structured, batched, lines of structured events, and binary mode."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from ingest_gateway import bodies
from ingest_gateway.bodies import BROKEN, Events
from ingest_gateway.ids import MAX_ID, is_event_id
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.problems import Problem

REQUIRED = ("id", "source", "specversion", "type")
RESERVED = {"producer", "contractversion", "eventtime"}  # the gateway's own header names
_NAME = re.compile(r"[a-z0-9]{1,64}\Z")


class _Data(msgspec.Struct):
    """Just the payload's bytes; the rest of the event is skipped."""

    data: msgspec.Raw


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """An event of the attributes that nearly all have and no other: it is read in one step. The rest take the long way."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    data: msgspec.Raw
    time: str | None = None


_data = msgspec.json.Decoder(_Data).decode
_plain = msgspec.json.Decoder(_Plain).decode
_plain_list = msgspec.json.Decoder(list[_Plain]).decode


class _Refused(Exception):
    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.message = message


def structured(body: bytes) -> Events:
    """`application/cloudevents+json`: one event. Raises Problem 400 where the body is no JSON."""
    bodies.one_event(body)
    return _events([body], batch=False)


def batched(body: bytes, most: int) -> Events:
    """`application/cloudevents-batch+json`: an array of events. Raises Problem 400 or 413."""
    bodies.bound_elements(body, most)
    try:
        events = _plainly(_plain_list(body))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _events(bodies.elements(body, most))
    if len(events.payloads) > most:
        raise bodies.too_many(most)
    return events


def in_lines(body: bytes, most: int) -> Events:
    """A structured event on each line: not in the standard, and the form to send files in. Raises Problem 413."""
    payloads = bodies.lines(body, most)
    try:
        return _plainly([_plain(payload) for payload in payloads])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _events(payloads)


def is_binary(headers: RequestHeaders) -> bool:
    """Whether the request is an event in binary mode: its attributes are `ce-` headers."""
    return headers.get(b"ce-specversion") is not None or headers.get(b"ce-id") is not None


def binary(body: bytes, headers: RequestHeaders) -> Events:
    """The body is the payload, the `ce-` headers are the attributes, percent-encoded. Raises Problem 400."""
    given = {name: unquote(value) for name, value in headers.beginning(b"ce-").items()}
    try:
        attributes = _attributes(given)
    except _Refused as refused:
        raise Problem(400, "cloudevent", f"header ce-{refused.pointer[1:]} {refused.message}") from None
    events = bodies.one_event(body)
    events.ids = [given["id"]]
    events.attributes = [attributes]
    return events


def _plainly(plain: list[_Plain]) -> Events:
    """Raises ValueError where an event must take the long way, to be refused with its reason."""
    payloads = [bytes(event.data) for event in plain]
    shared: dict[tuple[str, str, str | None], Mapping[str, str]] = {}
    attributes: list[Mapping[str, str] | None] = []
    for event in plain:
        if not (event.source and event.type and is_event_id(event.id)):
            raise ValueError
        context = (event.source, event.type, event.time)
        known = shared.get(context)
        if known is None:
            texts = {"source": event.source, "type": event.type, "time": event.time}
            known = shared[context] = {name: text for name, text in texts.items() if text is not None}
        attributes.append(known)
    ids: list[str | None] = [event.id for event in plain]
    return Events(payloads, bodies.parse_all(payloads), ids=ids, attributes=attributes, prefix="/data")


def _events(payloads: Iterable[bytes], batch: bool = True) -> Events:
    events = Events([], [], batch=batch, ids=[], attributes=[], prefix="/data")
    assert events.ids is not None
    assert events.attributes is not None
    for index, payload in enumerate(payloads):
        data, value, attributes, event_id = payload, BROKEN, None, None
        try:
            event = _object(payload)
            event_id = event["id"] if is_event_id(event.get("id")) else None
            data, value = _payload(payload, event)
            attributes = _attributes(event)
        except _Refused as refused:
            value = BROKEN
            events.broken[index] = (refused.pointer, refused.message)
        events.payloads.append(data)
        events.values.append(value)
        events.ids.append(event_id)
        events.attributes.append(attributes)
    return events


def _object(payload: bytes) -> dict[str, Any]:
    try:
        event = bodies.parse(payload)
    except ValueError as failure:
        raise _Refused("", f"is not JSON: {failure}") from None
    if not isinstance(event, dict):
        raise _Refused("", "is not a CloudEvent, which is a JSON object")
    return event


def _payload(payload: bytes, event: dict[str, Any]) -> tuple[bytes, Any]:
    """The bytes and the value of the event's data, taken out of `event`."""
    kind = event.pop("datacontenttype", None) or bodies.JSON
    if not isinstance(kind, str) or not bodies.is_json(kind.split(";")[0].strip().lower()):
        raise _Refused("/datacontenttype", "is not JSON, which a stream's events are")
    if "data_base64" in event:
        text = event.pop("data_base64")
        if "data" in event:
            raise _Refused("/data_base64", "and data exclude each other")
        try:
            data = bodies.decoded(text if isinstance(text, str) else "")
            return data, bodies.parse(data)
        except ValueError as failure:
            raise _Refused("/data_base64", f"does not hold JSON: {failure}") from None
    if "data" not in event:
        raise _Refused("/data", "is required")
    return bytes(_data(payload).data), event.pop("data")


def _attributes(given: Mapping[str, Any]) -> dict[str, str]:
    """The context attributes as texts, `id` and `specversion` left out: they have headers of their own."""
    for name in REQUIRED:
        if not given.get(name):
            raise _Refused(f"/{name}", "is required")
    if given["specversion"] != "1.0":
        raise _Refused("/specversion", "is not 1.0")
    if not is_event_id(given["id"]):
        raise _Refused("/id", f"is not a string of 1 to {MAX_ID} characters without control characters")
    texts = {}
    for name, value in given.items():
        if name in ("id", "specversion") or value is None:
            continue
        if not _NAME.match(name):
            raise _Refused(f"/{name[:64]}", "is no attribute name: lower-case letters and digits")
        if name in RESERVED:
            raise _Refused(f"/{name}", "is an attribute that only the gateway sets")
        texts[name] = _text(name, value)
    return texts


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise _Refused(f"/{name}", "is no string, integer or boolean, which attributes are")
