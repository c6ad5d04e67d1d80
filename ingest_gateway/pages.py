"""What is read, not sent: health, readiness, metrics and the list of streams."""

from html import escape
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from catalog.contract import Stream
from ingest_gateway import metrics
from ingest_gateway.gateway import Gateway


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
    state = readiness(request.app.state.gateway)
    return Json(state, status_code=503 if state["status"] == "unready" else 200)


def readiness(gateway: Gateway) -> dict[str, Any]:
    """Broker, contracts and load, with a list of reasons for whatever is not well."""
    broker, streams = gateway.broker, gateway.streams
    reasons = [f"contract {name}: {why}" for name, why in sorted(streams.broken.items())]
    if broker.up:
        reasons += [
            f"stream {name}: Kafka has no topic {served.topic}; `sluice apply` makes it"
            for name, served in sorted(streams.served.items())
            if not broker.partitions(served.topic)
        ]
        status = "degraded" if reasons else "ready"
    else:
        reasons.insert(0, f"Kafka at {gateway.lake.kafka_bootstrap} is {broker.state}: {broker.reason}")
        status = "unready"
    return {
        "status": status,
        "reasons": reasons,
        "broker": {"state": broker.state, "reason": broker.reason, "since": broker.since},
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
    """The streams, as HTML for a browser and JSON for everyone else."""
    streams = _streams(request.app.state.gateway)
    if "text/html" not in request.headers.get("accept", ""):
        return Json({"streams": streams})
    rows = "".join(
        f"<tr><td><a href='/v1/streams/{escape(s['name'])}'>{escape(s['name'])}</a></td><td>{escape(s['title'])}</td>"
        f"<td>{escape(s['description'])}</td><td><code>POST {escape(s['events'])}</code></td></tr>"
        for s in streams
    )
    return HTMLResponse(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Sluice</title>"
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "td,th{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0}</style>"
        "<h1>Sluice</h1><p>Streams that take events:</p><table><thead><tr><th>Stream</th><th>Title</th>"
        f"<th>Description</th><th>Send events to</th></tr></thead><tbody>{rows}</tbody></table></html>"
    )


async def streams(request: Request) -> Response:
    """All streams, in short."""
    return Json({"streams": _streams(request.app.state.gateway)})


async def stream(request: Request) -> Response:
    """A stream's facts and the JSON Schema that its events are checked against. 404 with the nearest name."""
    served = request.app.state.gateway.stream(request.path_params["stream"])
    facts = served.stream
    return Json(
        {
            **_short(facts),
            "key": list(facts.key),
            "event_time": facts.event_time,
            "topic": served.topic,
            "partitions": request.app.state.gateway.broker.partitions(served.topic) or None,
            "tags": list(facts.tags),
            "limitations": facts.limitations,
            "columns": [_column(column.name, column.logical_type, column.required) for column in facts.columns],
            "schema": served.checker.schema,
        }
    )


def _streams(gateway: Gateway) -> list[dict[str, str]]:
    return [_short(served.stream) for _, served in sorted(gateway.streams.served.items())]


def _short(facts: Stream) -> dict[str, str]:
    return {
        "name": facts.name,
        "title": facts.title,
        "description": facts.description,
        "kind": facts.kind,
        "version": facts.version,
        "events": f"/v1/streams/{facts.name}/events",
    }


def _column(name: str, kind: str, required: bool) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required}
