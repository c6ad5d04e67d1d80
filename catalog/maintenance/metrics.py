"""What maintenance tells Prometheus: the state of each table after a round's work on it, and what the work was."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge
from pyiceberg.exceptions import NoSuchTableError

from catalog import exposition
from catalog.maintenance.compaction import MIB, to_merge
from catalog.maintenance.orphans import listed
from catalog.maintenance.tools import Done, Tools

# Files younger than this are still being merged.
SETTLED = 600
REGISTRY = CollectorRegistry()
FILES = Gauge("sluice_maintenance_files", "Data files of a table.", ["table"], registry=REGISTRY)
SMALL = Gauge(
    "sluice_maintenance_small_files",
    "Data files that compaction would merge now; a few of each partition are rightly left small, and are not counted.",
    ["table"],
    registry=REGISTRY,
)
SETTLED_FILES = Gauge(
    "sluice_maintenance_settled_files",
    "Data files older than ten minutes in the partition that has most of them.",
    ["table"],
    registry=REGISTRY,
)
DELETES = Gauge("sluice_maintenance_delete_files", "Delete files of a table.", ["table"], registry=REGISTRY)
BYTES = Gauge("sluice_maintenance_bytes", "Bytes of live data and delete files.", ["table"], registry=REGISTRY)
SNAPSHOTS = Gauge("sluice_maintenance_snapshots", "Snapshots of a table.", ["table"], registry=REGISTRY)
METADATA = Gauge(
    "sluice_maintenance_metadata_bytes", "Bytes in a table's metadata folder.", ["table"], registry=REGISTRY
)
ACTIONS = Counter(
    "sluice_maintenance_actions_total",
    "What was done, by its outcome.",
    ["table", "action", "outcome"],
    registry=REGISTRY,
)
LAST = Gauge(
    "sluice_maintenance_last_round_timestamp_seconds", "When a round ended without a failure.", registry=REGISTRY
)
TABLE_GAUGES = (FILES, SMALL, SETTLED_FILES, DELETES, BYTES, SNAPSHOTS, METADATA)


def observe(tools: Tools, identifier: str, *, with_metadata: bool) -> None:
    """Look at one table and set its gauges; the metadata folder must be listed, so it is looked at now and then."""
    try:
        table, found = tools.load(identifier)
    except (NoSuchTableError, ValueError):
        return
    if with_metadata:
        METADATA.labels(identifier).set(listed(tools.files, table.location(), timedelta(0)).metadata_bytes)
    FILES.labels(identifier).set(len(found.data))
    SMALL.labels(identifier).set(to_merge(found.data, tools.settings.target_mib * MIB))
    SETTLED_FILES.labels(identifier).set(found.most_in_partition(int((time.time() - SETTLED) * 1000)))
    DELETES.labels(identifier).set(len(found.deletes))
    BYTES.labels(identifier).set(found.bytes)
    SNAPSHOTS.labels(identifier).set(len(table.snapshots()))


def forget(gone: Iterable[str]) -> None:
    """Drop the gauges of tables that are not there any more."""
    for identifier in gone:
        for gauge in TABLE_GAUGES:
            gauge.remove_by_labels({"table": identifier})


def count(done: Iterable[Done]) -> None:
    """Add what a round did."""
    for one in done:
        ACTIONS.labels(one.table, one.action, one.outcome).inc()


@dataclass
class Health:
    """For `/healthz`: running, waiting (with the reason) or starting."""

    state: str = "starting"
    reason: str = ""
    table: str = ""
    since: float = field(default_factory=time.time)

    def become(self, state: str, reason: str = "") -> None:
        """Change state."""
        if (state, reason) != (self.state, self.reason):
            self.since = time.time()
        self.state, self.reason = state, reason

    def document(self) -> dict[str, object]:
        """What `/healthz` answers."""
        return vars(self).copy()


def serve(host: str, port: int, health: Health) -> ThreadingHTTPServer:
    """Answer /healthz (200, unless maintenance waits for a server: 503) and /metrics in a thread of its own."""
    return exposition.serve(
        host, port, "SLUICE_MAINTENANCE_PORT", REGISTRY, lambda: (health.state != "waiting", health.document())
    )
