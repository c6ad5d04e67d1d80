"""Traces by OpenTelemetry, where its own settings (`OTEL_…`) name a collector. Without them nothing here is imported.

A span for each request. It continues the caller's trace (W3C Trace Context) and takes the caller's place in it: the records of the
request carry the span in their `traceparent`, so that what reads them from Kafka can go on with the same trace.
"""

import asyncio
import os
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.errors import SluiceError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
FLUSH = 5.0  # seconds that the stop waits for the collector
_PLAIN = {"/", "/docs", "/healthz", "/metrics", "/openapi.json", "/readyz", "/sign-in", "/v1/streams"}
_ROUTES = (
    (re.compile(r"/v1/streams/[^/]+/events\Z"), "/v1/streams/{stream}/events"),
    (re.compile(r"/v1/streams/[^/]+\Z"), "/v1/streams/{stream}"),
    (re.compile(r"/forms/[^/]+\Z"), "/forms/{stream}"),
)


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the settings name a collector. Raises SluiceError where it could not be reached all the same."""
    named = next((name for name in ENDPOINTS if environ.get(name)), None)
    if named is None or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    for name in PROTOCOLS:
        if environ.get(name, "http/protobuf") != "http/protobuf":
            raise SluiceError(f"{name}={environ[name]!r} is not to be had: traces go out by http/protobuf")
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise SluiceError(
            f"{named} is set, and the packages for it are not here: install opentelemetry-sdk and "
            "opentelemetry-exporter-otlp-proto-http, or set OTEL_SDK_DISABLED=true"
        ) from None
    return True


def create_app() -> ASGIApp:
    """The application of the gateway, traced. A worker makes it."""
    from ingest_gateway.app import create_app

    return Traced(create_app())


class Traced:
    """ASGI: around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = os.environ.get("OTEL_SERVICE_NAME") or "sluice-gateway"
        self._app = app
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: named}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("ingest_gateway")
        self._contexts = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, within a span."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, self._ending(send))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = _route(scope["path"])
        about = {"http.request.method": scope["method"], "http.route": route, "url.path": scope["path"][:200]}
        if stream := _stream(scope["path"]):
            about["sluice.stream"] = stream
        span = self._tracer.start_span(
            f"{scope['method']} {route}", self._contexts.extract(headers), SpanKind.SERVER, about
        )  # fmt: skip
        carried: dict[str, str] = {}
        self._contexts.inject(carried, set_span_in_context(span))
        own = [(name.encode(), value.encode()) for name, value in carried.items()]
        others = [pair for pair in scope["headers"] if pair[0] not in (b"traceparent", b"tracestate")]

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        try:
            await self._app({**scope, "headers": [*others, *own]}, receive, seen)
        finally:
            span.end()

    def _ending(self, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, self._provider.force_flush, int(FLUSH * 1000))
                await loop.run_in_executor(None, self._provider.shutdown)
            await send(message)

        return told


def _route(path: str) -> str:
    """The path without names: a span's name is one of a few."""
    return path if path in _PLAIN else next((route for pattern, route in _ROUTES if pattern.match(path)), "/{path}")


def _stream(path: str) -> str:
    parts = path.split("/")
    return parts[3] if path.startswith("/v1/streams/") and len(parts) > 3 else ""
