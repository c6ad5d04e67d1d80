"""What the refresher of gold tells Prometheus."""

from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Gauge, Histogram

from catalog import exposition
from catalog.gold_project import GoldResult

WORKS = ("built", "refreshed", "tested")
REGISTRY = CollectorRegistry()
CHECKED = Gauge(
    "sluice_gold_checked_timestamp_seconds",
    "When gold was last seen to hold what silver holds, or brought to it.",
    registry=REGISTRY,
)
TESTED = Gauge(
    "sluice_gold_tested_timestamp_seconds",
    "When all tests of the gold models were last run, whatever they found.",
    registry=REGISTRY,
)
SECONDS = Histogram(
    "sluice_gold_work_seconds",
    "Time of a build, a refresh or a run of all tests.",
    ["work"],
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600),
    registry=REGISTRY,
)
FAILED = Gauge(
    "sluice_gold_failed_nodes", "Models and tests that failed when the work was last done.", ["work"], registry=REGISTRY
)
TRINO_UP = Gauge("sluice_gold_trino_up", "1 while Trino takes queries, 0 while gold waits for it.", registry=REGISTRY)


def done(work: str, result: GoldResult, seconds: float) -> None:
    """Tell what became of one of WORKS. Who builds all models anew mends what the last refresh could not."""
    SECONDS.labels(work).observe(seconds)
    FAILED.labels(work).set(len(result.failures))
    if work == "tested":
        TESTED.set_to_current_time()
    if work == "built" and result.ok:
        FAILED.labels("refreshed").set(0)


def serve(host: str, port: int, state: dict[str, object]) -> ThreadingHTTPServer:
    """Answer /healthz (`state` as it is then) and /metrics in a thread of its own. Trino being away is no failure of this part."""
    for work in WORKS:
        FAILED.labels(work).set(0)
    return exposition.serve(host, port, "SLUICE_GOLD_PORT", REGISTRY, lambda: (True, dict(state)))
