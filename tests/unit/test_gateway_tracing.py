"""Traces: off unless a collector is named, refused where they could not go out, and one span for each request."""

import asyncio
import builtins
import subprocess
import sys
from typing import Any

import httpx
import pytest

from catalog.errors import SluiceError
from ingest_gateway import tracing
from tests.collector import Collector, running_collector

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**NAMED, "OTEL_SDK_DISABLED": "true"},
        {**NAMED, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_traced_where_no_collector_is_named(environ: dict[str, str]) -> None:
    assert not tracing.wanted(environ)


def test_a_gateway_without_traces_imports_none_of_it() -> None:
    told = "import sys, ingest_gateway.__main__, ingest_gateway.app; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_cannot_go_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SluiceError, match="OTEL_EXPORTER_OTLP_PROTOCOL='grpc' is not to be had"):
        tracing.wanted({**NAMED, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SluiceError, match="install opentelemetry-sdk"):
        tracing.wanted(NAMED)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the trace context that it was given."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    context = dict(scope["headers"]).get(b"traceparent", b"")
    status = 503 if scope["path"] == "/healthz" else 202
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": context})


def traced(collector: Collector, path: str, headers: dict[str, str]) -> httpx.Response:
    async def ask() -> httpx.Response:
        app = tracing.Traced(answer)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            found = await client.post(path, headers=headers)

        async def receive() -> dict[str, str]:
            return {"type": "lifespan.shutdown"}

        async def send(_: Any) -> None:
            assert collector.spans, "they are out before the stop is told"

        await app({"type": "lifespan"}, receive, send)
        return found

    return asyncio.run(ask())


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    with running_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


def test_a_span_continues_the_callers_trace_and_hands_it_on(collector: Collector) -> None:
    found = traced(collector, "/v1/streams/orders/events?key=secret", {"traceparent": CALLER, "tracestate": "a=b"})
    [(resource, span)] = collector.spans
    assert resource["service.name"] == "sluice-gateway"
    assert span.name == "POST /v1/streams/{stream}/events"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (CALLER[3:35], CALLER[36:52])
    assert found.text == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
    facts = {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}
    assert (facts["http.response.status_code"], facts["sluice.stream"]) == (202, "orders")
    assert "secret" not in str(span)


def test_a_request_without_a_trace_begins_one_and_a_failure_is_told(collector: Collector) -> None:
    found = traced(collector, "/healthz", {"traceparent": "nonsense"})
    [(_, span)] = collector.spans
    assert not span.parent_span_id
    assert found.text.split("-")[1] == span.trace_id.hex()
    assert span.status.code == 2
