"""Prometheus metrics, per process or, with several workers, summed over them."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import REGISTRY

disable_created_metrics()  # a series beside each series, which nothing here reads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EVENTS = Counter("sluice_gateway_events_total", "Events by stream and verdict", ("stream", "verdict"))
BYTES = Counter("sluice_gateway_received_bytes_total", "Bytes of request bodies, decompressed", ("stream",))
REQUESTS = Histogram(
    "sluice_gateway_request_seconds", "From a request's headers to its answer, by status", ("status",), buckets=_SECONDS
)
PRODUCE = Histogram(
    "sluice_gateway_produce_seconds", "From handing a record batch over to its acknowledgement", buckets=_SECONDS
)
BATCHES = Counter("sluice_gateway_produced_batches_total", "Record batches by outcome", ("outcome",))
IN_FLIGHT_BYTES = Gauge(
    "sluice_gateway_in_flight_bytes", "Bytes of bodies that are held now", multiprocess_mode="livesum"
)
IN_FLIGHT_REQUESTS = Gauge(
    "sluice_gateway_in_flight_requests", "Requests under way now", multiprocess_mode="livesum"
)  # fmt: skip
CONNECTIONS = Gauge("sluice_gateway_connections", "Connections that are open now", multiprocess_mode="livesum")
TURNED_AWAY = Counter(
    "sluice_gateway_turned_away_total",
    "Connections that were ended before or after what they asked, by reason",
    ("reason",),
)
BROKER_UP = Gauge("sluice_gateway_broker_up", "1 while Kafka answers", multiprocess_mode="livemin")
SPOOL_BYTES = Gauge(
    "sluice_gateway_spool_bytes", "Bytes of the spool on disk", multiprocess_mode="livesum"
)  # fmt: skip
SPOOL_LIMIT = Gauge(
    "sluice_gateway_spool_limit_bytes", "Most bytes that the spool may have on disk", multiprocess_mode="livesum"
)
SPOOL_EVENTS = Gauge(
    "sluice_gateway_spool_events", "Events in the spool that Kafka does not have", multiprocess_mode="livesum"
)
SPOOL_OLDEST = Gauge(
    "sluice_gateway_spool_oldest_age_seconds", "Since the oldest of them was received", multiprocess_mode="livemax"
)
SPOOL_DRAINED = Counter("sluice_gateway_spool_drained_events_total", "Events that went from the spool to Kafka")
SPOOL_ASIDE = Gauge(
    "sluice_gateway_spool_aside_events", "Spooled events that Kafka refuses for good", multiprocess_mode="livemax"
)
SPOOL_DISK_FREE = Gauge(
    "sluice_gateway_spool_disk_free_bytes", "Free bytes of the disk that holds the spool", multiprocess_mode="livemin"
)
SPOOL_DISK = Gauge("sluice_gateway_spool_disk_bytes", "Size of that disk", multiprocess_mode="livemax")
CONTRACTS = Gauge("sluice_gateway_contracts", "Contract files by state", ("state",), multiprocess_mode="livemax")


class StreamCounts:
    """What one stream took since the last `flush`: plain numbers, which cost a request nothing."""

    def __init__(self, stream: str) -> None:
        self._counters = [
            EVENTS.labels(stream, verdict).inc for verdict in ("accepted", "spooled", "refused", "failed")
        ]
        self._counters.append(BYTES.labels(stream).inc)
        self.accepted = self.spooled = self.refused = self.failed = self.bytes = 0

    def flush(self) -> None:
        """Add the numbers to the counters that are scraped."""
        counts = (self.accepted, self.spooled, self.refused, self.failed, self.bytes)
        self.accepted = self.spooled = self.refused = self.failed = self.bytes = 0
        for add, count in zip(self._counters, counts, strict=True):
            add(count)


class Workers(multiprocess.MultiProcessCollector):
    """What all workers tell: the sum of what any counted, and the state of those that live."""

    def collect(self) -> Iterable[Metric]:
        """Raises what reading the files does."""
        _forget_the_dead(Path(self._path))
        return super().collect()


def registry() -> CollectorRegistry:
    """What counts here, or, with several workers, in any of them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    summed = CollectorRegistry()
    Workers(summed)
    return summed


def exposition() -> bytes:
    """The text that Prometheus scrapes."""
    return generate_latest(registry())


def _forget_the_dead(folder: Path) -> None:
    """Nobody else would, and a worker that saw no Kafka when it died would say so for ever."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # whoever is scraped at the same time does it too
                multiprocess.mark_process_dead(pid, str(folder))
        except PermissionError:
            continue  # it lives, as somebody else
