"""`/openapi.json`: the HTTP interface as an OpenAPI 3.1 document, made from the contracts that are served."""

from collections.abc import Mapping, Sequence
from typing import Any

from ingest_gateway import bodies, openapi_parts
from ingest_gateway.examples import event
from ingest_gateway.fields import Field, fields, flat
from ingest_gateway.openapi_parts import ref
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.streams import Served

VERSION = "1.0.0"  # of the interface, not of the program
INTRODUCTION = (
    "Events go in over HTTP, are checked against their stream's data contract, and are rows of a table seconds later. "
    "A 2xx answer means that the events it names are with all in-sync replicas of Kafka or synced to disk. One bad event spoils "
    "no other: each has a verdict. Send again with the same ids (`Idempotency-Key`, CloudEvents `id`) and nothing is counted twice."
)
ANSWERS = {202: "Taken", 207: "TakenInPart", 422: "Refused"}
# What can be said of any request to a stream; the rest only of one with a body.
OF_A_STREAM = (400, 401, 403, 404, 429, 431, 503)
OF_A_BODY = (408, 413, 415)


def document(served: Sequence[Served], settings: GatewaySettings) -> dict[str, Any]:
    """The whole document, for the streams that the reader may see."""
    paths: dict[str, Any] = {"/v1/streams": {"get": _listing()}}
    schemas = dict(openapi_parts.SCHEMAS)
    for one in served:
        name = one.stream.name
        schemas[name] = {word: part for word, part in one.checker.schema.items() if word != "$schema"}
        paths[f"/v1/streams/{name}/events"] = {"post": _submission(one, settings)}
        paths[f"/v1/streams/{name}"] = {"get": _description(one)}
    paths |= openapi_parts.OPERATIONS
    required = settings.authentication == "required"
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Sluice", "version": VERSION, "description": INTRODUCTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}] if required else [{}, {"bearer": []}, {"apiKey": []}],
        "tags": [{"name": one.stream.name, "description": one.stream.description or one.stream.title} for one in served]
        + [{"name": "gateway", "description": "Lists, health and metrics."}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": openapi_parts.RESPONSES,
            "parameters": openapi_parts.PARAMETERS,
            "headers": openapi_parts.HEADERS,
            "securitySchemes": openapi_parts.SECURITY,
        },
    }  # fmt: skip


def resolved(document: Mapping[str, Any], node: Any) -> Any:
    """What a reference of the document leads to; anything else as it is."""
    while isinstance(node, Mapping) and "$ref" in node:
        found: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def _submission(served: Served, settings: GatewaySettings) -> dict[str, Any]:
    stream = served.stream
    return {
        "operationId": f"submit_{stream.name}",
        "tags": [stream.name],
        "summary": f"Send events to {stream.title}",
        "description": f"{stream.description} At most {settings.max_events:,} events and {settings.max_body_bytes:,} bytes a "
        f"request, {settings.max_event_bytes:,} bytes an event.",
        **_security(served, settings),
        "parameters": [ref("parameters", name) for name in ("IdempotencyKey", "Verdicts", "Prefer", "RequestId")],
        "requestBody": {"required": True, "content": _bodies(served)},
        "responses": {
            **{str(status): ref("responses", name) for status, name in ANSWERS.items()},
            **_problems((*OF_A_STREAM, *OF_A_BODY)),
        },
    }


def _description(served: Served) -> dict[str, Any]:
    stream = served.stream
    return {
        "operationId": f"describe_{stream.name}",
        "tags": [stream.name],
        "summary": f"The contract of {stream.title}",
        "description": "The contract's facts, its JSON Schema, and an event with programs that send it. A page for a browser.",
        "responses": {
            "200": {
                "description": "The stream",
                "headers": {"X-Request-Id": ref("headers", "RequestId")},
                "content": {"application/json": {"schema": ref("schemas", "Stream")}, "text/html": {"schema": {"type": "string"}}},
            },
            **_problems(OF_A_STREAM),
        },
    }  # fmt: skip


def _listing() -> dict[str, Any]:
    streams = {"type": "array", "items": ref("schemas", "StreamInShort")}
    schema = {"type": "object", "required": ["streams"], "properties": {"streams": streams}}
    return {
        "operationId": "list_streams",
        "tags": ["gateway"],
        "summary": "The streams",
        "description": "Those that the caller may see.",
        "responses": {
            "200": {"description": "The streams", "content": {"application/json": {"schema": schema}}},
            **_problems((401, 429)),
        },
    }


def _security(served: Served, settings: GatewaySettings) -> dict[str, Any]:
    """A stream that everybody may submit to says so where all others need a key."""
    if settings.authentication == "required" and served.stream.anonymous_submission:
        return {"security": [{}, {"bearer": []}, {"apiKey": []}]}
    return {}


def _problems(statuses: Sequence[int]) -> Mapping[str, Any]:
    return {str(status): ref("responses", f"Problem{status}") for status in sorted(statuses)}


def _bodies(served: Served) -> dict[str, Any]:
    """Every kind of body that is taken, with an example."""
    name, example = served.stream.name, event(served)
    one = ref("schemas", name)
    cloud = {**ref("schemas", "CloudEvent"), "properties": {"data": one}}
    envelope = {"specversion": "1.0", "id": "example-1", "source": "/example", "type": name, "data": example}
    line = openapi_parts.as_json(example)
    form = _form(fields(served.stream))
    return {
        bodies.JSON: {
            "schema": {"anyOf": [one, {"type": "array", "items": one}]},
            "examples": {"one": {"summary": "One event", "value": example}, "many": {"summary": "Many", "value": [example]}},
        },
        "application/x-ndjson": {
            "schema": {"type": "string", "description": "One event on each line."},
            "examples": {"lines": {"value": f"{line}\n{line}\n"}},
        },
        bodies.CLOUDEVENT: {"schema": cloud, "examples": {"one": {"value": envelope}}},
        bodies.CLOUDEVENT_BATCH: {
            "schema": {"type": "array", "items": cloud},
            "examples": {"many": {"value": [envelope]}},
        },
        bodies.URLENCODED: {"schema": form},
        bodies.MULTIPART: {"schema": form},
    }  # fmt: skip


def _form(some: tuple[Field, ...]) -> dict[str, Any]:
    """Texts, which the contract's types give a meaning."""
    texts = {one.name: {"type": "string", "title": one.column.title} for one in flat(some)}
    return {"type": "object", "description": "One event: fields are named like columns.", "properties": texts}
