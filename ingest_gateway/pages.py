"""What is read, not sent: health, readiness, metrics, the list of streams and each one's facts."""

from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from catalog.contract import Stream
from ingest_gateway import examples, fields, hints, metrics, openapi, site
from ingest_gateway.gateway import Gateway
from ingest_gateway.spool.readiness import spool_reasons, spool_state


class Json(Response):
    """A JSON answer by orjson."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Indented: people read these."""
        return orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str)


async def healthz(request: Request) -> Response:
    """The process answers."""
    return Json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 while events are taken (`ready`, or `degraded` with the reasons), 503 while none is."""
    gateway = request.app.state.gateway
    state = readiness(gateway)
    if not gateway.access.operates(request.scope["caller"]):
        state = {"status": state["status"]}
    return Json(state, status_code=503 if state["status"] == "unready" else 200)


def readiness(gateway: Gateway) -> dict[str, Any]:
    """Broker, contracts and load, with a list of reasons for whatever is not well."""
    broker, streams, spool = gateway.broker, gateway.streams, gateway.spool
    reasons = [f"contract {name}: {why}" for name, why in sorted(streams.broken.items())]
    reasons += gateway.access.troubles()
    if broker.up:
        reasons += [
            f"stream {name}: Kafka has no topic {served.topic}; `sluice apply` makes it"
            for name, served in sorted(streams.served.items())
            if not broker.partitions(served.topic)
        ]
    else:
        reasons.insert(0, f"Kafka at {gateway.lake.kafka_bootstrap} is {broker.state}: {broker.reason}")
    if spool is not None:
        reasons += spool_reasons(spool)
    # Until the first attempt to connect has ended, nobody knows yet whether the spool is needed.
    takes = broker.up or (spool is not None and broker.tried and spool.refusal() is None)
    status = "unready" if not takes else "degraded" if reasons else "ready"
    return {
        "status": status,
        "reasons": reasons,
        "broker": {"state": broker.state, "reason": broker.reason, "since": broker.since},
        "spool": spool_state(spool),
        "contracts": {"served": sorted(streams.served), "broken": dict(sorted(streams.broken.items()))},
        "in_flight": {
            "requests": gateway.requests,
            "bytes": gateway.budget.held,
            "limit_bytes": gateway.budget.limit,
        },
    }


async def exposition(request: Request) -> Response:
    """Prometheus' text format."""
    request.app.state.gateway.flush_metrics()
    return Response(metrics.exposition(), headers={"content-type": metrics.CONTENT_TYPE})


async def index(request: Request) -> Response:
    """The streams, as a page for a browser and JSON for everyone else."""
    gateway: Gateway = request.app.state.gateway
    if not site.wants_html(request):
        return Json({"streams": list(map(_short, _seen(request)))})
    state = readiness(gateway)
    reason = state["reasons"][0] if state["status"] == "unready" else ""
    if reason and not gateway.access.operates(request.scope["caller"]):
        reason = state["status"]
    return site.page(request, "streams.html", streams=_seen(request), reason=reason)


async def sign_in(request: Request) -> Response:
    """Where a browser asks for a key; the guard has seen to it that there is one by now."""
    return RedirectResponse("/", status_code=303)


async def streams(request: Request) -> Response:
    """All streams, in short."""
    return Json({"streams": list(map(_short, _seen(request)))})


async def stream(request: Request) -> Response:
    """A stream's facts, its JSON Schema and examples, as a page or as JSON. 404 with the nearest name."""
    gateway: Gateway = request.app.state.gateway
    served = gateway.stream(request.path_params["stream"])
    facts = served.stream
    shown = examples.examples(served, str(request.base_url))
    partitions = gateway.broker.partitions(served.topic) or None
    if site.wants_html(request):
        said = site.language(request)
        return site.page(
            request,
            "stream.html",
            stream=facts,
            topic=served.topic,
            partitions=partitions,
            address=f"{str(request.base_url).rstrip('/')}/v1/streams/{facts.name}/events",
            rows=[(found, hints.hints(found, said)) for found in fields.all_fields(fields.fields(facts))],
            event=_indented(shown.event),
            examples=shown,
            schema=_indented(served.checker.schema),
        )
    return Json(
        {
            **_short(facts),
            "key": list(facts.key),
            "event_time": facts.event_time,
            "topic": served.topic,
            "partitions": partitions,
            "tags": list(facts.tags),
            "limitations": facts.limitations,
            "columns": [_column(column.name, column.logical_type, column.required) for column in facts.columns],
            "schema": served.checker.schema,
            "examples": asdict(shown),
        }
    )


async def openapi_document(request: Request) -> Response:
    """The interface as OpenAPI 3.1, for the streams that the caller may see."""
    return Json(_document(request))


async def docs(request: Request) -> Response:
    """The same, to read."""
    document = _document(request)

    def at(node: Any) -> Any:
        return openapi.resolved(document, node)

    return site.page(request, "docs.html", document=document, at=at, indented=_indented)


def _document(request: Request) -> dict[str, Any]:
    gateway: Gateway = request.app.state.gateway
    return openapi.document([gateway.streams.served[each.name] for each in _seen(request)], gateway.settings)


def _indented(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _seen(request: Request) -> list[Stream]:
    """The streams that the caller may see, by name."""
    gateway, caller = request.app.state.gateway, request.scope["caller"]
    served = sorted(gateway.streams.served.items())
    return [each.stream for name, each in served if gateway.access.sees(caller, name)]


def _short(facts: Stream) -> dict[str, str]:
    return {
        "name": facts.name,
        "title": facts.title,
        "description": facts.description,
        "kind": facts.kind,
        "version": facts.version,
        "events": f"/v1/streams/{facts.name}/events",
        "form": f"/forms/{facts.name}",
    }


def _column(name: str, kind: str, required: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required}
