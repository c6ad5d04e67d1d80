"""The parts of the OpenAPI document that are the same for each stream: answers, headers, parameters, ways to say who asks."""

from typing import Any

import orjson

from ingest_gateway.problems import TITLES

RETRIED = (429, 503)  # statuses that come with Retry-After


def ref(kind: str, name: str) -> dict[str, Any]:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def as_json(value: Any) -> str:
    """Compact JSON."""
    return orjson.dumps(value).decode()


def _object(required: list[str], /, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


TEXT = {"type": "string"}
ATTRIBUTE = {**TEXT, "minLength": 1, "pattern": "^[!-~]+$"}
COUNT = {"type": "integer", "minimum": 0}
ERROR = _object(
    ["pointer", "message"],
    pointer={**TEXT, "description": "RFC 6901, into what was sent", "examples": ["/quantity"]},
    message={**TEXT, "examples": ['"x" is not of type "integer"']},
)
VERDICT = {
    **_object(
        ["id", "status"],
        id={**TEXT, "description": "The event's identity: a resend with it is no second row"},
        status={"enum": ["accepted", "spooled", "refused"]},
        partition={"type": "integer", "minimum": 0},
        offset={"type": ["integer", "null"], "description": "null where Kafka has the record and no longer knows its place"},
        errors={"type": "array", "minItems": 1, "items": ERROR, "description": "Why the event is refused"},
    ),
    "description": "What became of one event. Accepted: on all in-sync replicas of Kafka. Spooled: synced to the gateway's disk.",
}  # fmt: skip
COLUMN = _object(["name", "type", "required"], name=TEXT, type=TEXT, required={"type": "boolean"})
SCHEMAS: dict[str, Any] = {
    "Receipt": {
        **_object(
            ["stream", "accepted", "refused"],
            stream=TEXT,
            accepted={**COUNT, "description": "Events that are kept for certain, in Kafka or in the spool"},
            refused=COUNT,
            spooled={**COUNT, "description": "How many of them are in the spool; only where some are"},
            events={"type": "array", "items": ref("schemas", "Verdict"), "description": "In the order sent; not with counts only"},
        ),
        "examples": [
            {"stream": "orders", "accepted": 1, "refused": 1, "events": [
                {"id": "k-0", "status": "accepted", "partition": 0, "offset": 41},
                {"id": "k-1", "status": "refused", "errors": [{"pointer": "/quantity", "message": '"x" is not of type "integer"'}]},
            ]}
        ],
    },
    "Verdict": VERDICT,
    "Problem": {
        **_object(
            ["type", "title", "status", "detail", "request_id"],
            type={**TEXT, "format": "uri", "examples": ["urn:sluice:problem:not-json"]},
            title=TEXT,
            status={"type": "integer", "minimum": 400, "maximum": 599},
            detail={**TEXT, "description": "What is wrong and what to do"},
            request_id=TEXT,
            nearest={"type": ["string", "null"], "description": "With 404: the stream that may have been meant"},
        ),
        "description": "RFC 9457. No event of the request was acknowledged.",
    },
    "CloudEvent": {
        **_object(
            ["specversion", "id", "source", "type", "data"],
            specversion={"const": "1.0"},
            id={**ATTRIBUTE, "maxLength": 200, "description": "The event's identity: a resend with it adds no row"},
            source=ATTRIBUTE,
            type=ATTRIBUTE,
            time={**TEXT, "format": "date-time"},
            subject=ATTRIBUTE,
            datacontenttype={"const": "application/json"},
            data={"description": "The event. `data_base64` is taken instead"},
        ),
        "propertyNames": {"pattern": "^[a-z0-9]+$"},
        "additionalProperties": {"type": ["string", "boolean", "integer"]},
        "description": "CloudEvents 1.0. Binary mode (`ce-…` headers) is taken, too.",
    },
    "StreamInShort": _object(
        ["name", "title", "description", "kind", "version", "events", "form"],
        name=TEXT, title=TEXT, description=TEXT, kind={"enum": ["event", "entity"]}, version=TEXT, events=TEXT, form=TEXT,
    ),
    "Stream": {
        "allOf": [ref("schemas", "StreamInShort")],
        **_object(
            ["key", "topic", "columns", "schema", "examples"],
            key={"type": "array", "items": TEXT},
            event_time={"type": ["string", "null"]},
            topic=TEXT,
            partitions={"type": ["integer", "null"]},
            columns={"type": "array", "items": COLUMN},
            schema={"type": "object", "description": "JSON Schema 2020-12"},
            examples={"type": "object", "description": "An event, and programs that send it"},
        ),
    },
}  # fmt: skip

HEADERS = {
    "RequestId": {"description": "Names the request in the gateway's log", "schema": TEXT},
    "RetryAfter": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}},
    "Challenge": {"description": "How to say who asks", "schema": TEXT},
    "RateLimit": {"description": "What is left of the caller's limit (IETF draft)", "schema": TEXT},
    "RateLimitPolicy": {"description": "The caller's limit (IETF draft)", "schema": TEXT},
    "PreferenceApplied": {"description": "The preference that was followed", "schema": TEXT},
}
PARAMETERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The id of a single event; of a batch, the beginning of each one's id. A resend with it adds no row.",
        "schema": {**TEXT, "pattern": '^("[!#-~]{1,200}"|[!#-~]{1,200})$'},
        "examples": {"order": {"value": "order-4711"}},
    },
    "Verdicts": {
        "name": "verdicts",
        "in": "query",
        "description": "A verdict for each event, or counts only.",
        "schema": {"enum": ["each", "summary"], "default": "each"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "RFC 7240: `return=minimal` or `respond-async` for counts only. Others are ignored.",
        "schema": {"enum": ["return=minimal", "respond-async"]},
    },
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "The caller's name for the request.",
        "schema": {**TEXT, "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
    },
}
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the OpenID Connect provider"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key in a header of its own"},
}  # fmt: skip


LIMITS = {"RateLimit": "RateLimit", "RateLimit-Policy": "RateLimitPolicy"}


def _answer(description: str) -> dict[str, Any]:
    names = {"X-Request-Id": "RequestId", "Preference-Applied": "PreferenceApplied", **LIMITS}
    return {
        "description": description,
        "headers": {header: ref("headers", name) for header, name in names.items()},
        "content": {"application/json": {"schema": ref("schemas", "Receipt")}},
    }


def _problem(status: int, title: str) -> dict[str, Any]:
    names = {"X-Request-Id": "RequestId"} | ({"Retry-After": "RetryAfter"} if status in RETRIED else {})
    names |= LIMITS if status == 429 else {"WWW-Authenticate": "Challenge"} if status in (401, 403) else {}
    return {
        "description": title,
        "headers": {header: ref("headers", name) for header, name in names.items()},
        "content": {"application/problem+json": {"schema": ref("schemas", "Problem")}},
    }


RESPONSES = {
    "Taken": _answer("All events are taken"),
    "TakenInPart": _answer("Some are taken, some refused; each with its verdict"),
    "Refused": _answer("None is taken; each with its reasons"),
    **{f"Problem{status}": _problem(status, title) for status, title in TITLES.items() if status != 500},
}


def _operation(operation_id: str, summary: str, kind: str, schema: Any, **more: Any) -> dict[str, Any]:
    answer = {"description": summary, "content": {kind: {"schema": schema}}}
    return {
        "get": {"operationId": operation_id, "tags": ["gateway"], "summary": summary, "responses": {"200": answer, **more}}
    }  # fmt: skip


_READINESS = _object(
    ["status"], status={"enum": ["ready", "degraded", "unready"]}, reasons={"type": "array", "items": TEXT}
)
_DENIED = {str(status): ref("responses", f"Problem{status}") for status in (401, 403)}
OPERATIONS = {
    "/healthz": _operation("health", "The process answers", "application/json", _object(["status"], status={"const": "ok"})),
    "/readyz": _operation(
        "readiness", "Whether events are taken", "application/json", _READINESS,
        **{"503": {"description": "None is taken", "content": {"application/json": {"schema": _READINESS}}}, "401": _DENIED["401"]},
    ),
    "/metrics": _operation("metrics", "Prometheus", "text/plain", TEXT, **_DENIED),
}  # fmt: skip
