"""What the stream job tells Prometheus and `/healthz`."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from catalog import exposition

REGISTRY = CollectorRegistry()
ROWS = Counter("sluice_stream_rows_total", "Rows by what became of them.", ["stream", "outcome"], registry=REGISTRY)
VIOLATIONS = Counter(
    "sluice_stream_violations_total",
    "Quarantined rows by the rule and the column that they break.",
    ["stream", "rule", "column"],
    registry=REGISTRY,
)
BYTES = Counter("sluice_stream_bytes_total", "Bytes of the payloads that were taken.", ["stream"], registry=REGISTRY)
BATCHES = Counter("sluice_stream_batches_total", "Batches by outcome: done, failed.", ["outcome"], registry=REGISTRY)
PHASE = Histogram(
    "sluice_stream_phase_seconds",
    "Time that a batch spends in each phase.",
    ["phase"],
    buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
    registry=REGISTRY,
)
FRESHNESS = Histogram(
    "sluice_stream_freshness_seconds",
    "From the receipt at the gateway to the commit in silver, of the oldest row of each batch.",
    ["stream"],
    buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
    registry=REGISTRY,
)
LAG = Gauge("sluice_stream_lag_records", "Records in Kafka that silver lacks.", ["stream"], registry=REGISTRY)
LAG_SECONDS = Gauge(
    "sluice_stream_lag_seconds",
    "For how long silver has lacked records without a step.",
    ["stream"],
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
    away: str = ""  # why Kafka can't be asked: the query may try for minutes before it says so

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
        state, reason = ("waiting", self.away) if self.away and self.state == "running" else (self.state, self.reason)
        return {"state": state, "reason": reason, "since": self.since, "streams": list(self.streams)}


def serve(host: str, port: int, health: Health) -> ThreadingHTTPServer:
    """Answer /healthz (200 while running or on standby, else 503) and /metrics in a thread of its own."""

    def told() -> tuple[bool, dict[str, Any]]:
        document = health.document()
        return document["state"] in ("running", "standby"), document

    return exposition.serve(host, port, "SLUICE_STREAM_PORT", REGISTRY, told)
