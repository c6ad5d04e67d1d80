"""What the stream job tells Prometheus and `/healthz`."""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REGISTRY = CollectorRegistry()
ROWS = Counter("sluice_stream_rows_total", "Rows by what became of them.", ["stream", "outcome"], registry=REGISTRY)
BATCHES = Counter("sluice_stream_batches_total", "Batches by outcome.", ["outcome"], registry=REGISTRY)
PHASE = Histogram(
    "sluice_stream_phase_seconds",
    "Time that a batch spends in each phase.",
    ["phase"],
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
    registry=REGISTRY,
)
OFFSET = Gauge(
    "sluice_stream_offset", "Next Kafka offset that silver lacks.", ["stream", "partition"], registry=REGISTRY
)
COMMITTED = Gauge(
    "sluice_stream_committed_timestamp_seconds", "When silver was last committed.", ["stream"], registry=REGISTRY
)
SET_ASIDE = Gauge("sluice_stream_set_aside", "1 while a stream is not processed.", ["stream"], registry=REGISTRY)
UP = Gauge("sluice_stream_running", "1 while the query runs, 0 while it waits.", registry=REGISTRY)


@dataclass
class Health:
    """The job's state for a person and a probe: starting, running, waiting (with the reason) or standby."""

    state: str = "starting"
    reason: str = ""
    since: float = field(default_factory=time.time)
    streams: tuple[str, ...] = ()

    def become(self, state: str, reason: str = "", streams: Iterable[str] | None = None) -> None:
        """Change state; the reason is shown as it is."""
        if (state, reason) != (self.state, self.reason):
            self.since = time.time()
        self.state, self.reason = state, reason
        if streams is not None:
            self.streams = tuple(streams)
        UP.set(1 if state == "running" else 0)

    def document(self) -> dict[str, object]:
        """What `/healthz` answers."""
        return {"state": self.state, "reason": self.reason, "since": self.since, "streams": list(self.streams)}


def serve(host: str, port: int, health: Health) -> ThreadingHTTPServer:
    """Answer /healthz (200 while running or on standby, else 503) and /metrics in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
            elif self.path == "/healthz":
                well = health.state in ("running", "standby")
                self._answer(200 if well else 503, "application/json", json.dumps(health.document()).encode())
            else:
                self._answer(404, "text/plain", b"/healthz and /metrics are here\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
