"""The part `verify`: a quick check every few minutes, and what it found as metrics. It reads metadata, and is no burden."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer

import structlog
from prometheus_client import CollectorRegistry, Gauge

from catalog import exposition
from catalog.contract import Stream
from catalog.odcs import load_each
from catalog.settings import LakeSettings
from catalog.watched import Watched, paths
from stream_jobs.verify import Report, verify
from stream_jobs.verify.settings import VerifySettings

REGISTRY = CollectorRegistry()
DEVIATIONS = Gauge(
    "sluice_verify_deviations", "Deviations that the last quick check of a stream found.", ["stream"], registry=REGISTRY
)
GIVEN_UP = Gauge("sluice_verify_accepted_losses", "Offsets that somebody gave up.", ["stream"], registry=REGISTRY)
CHECKED = Gauge(
    "sluice_verify_checked_timestamp_seconds",
    "When a stream was last checked to the end.",
    ["stream"],
    registry=REGISTRY,
)
SECONDS = Gauge("sluice_verify_seconds", "How long the last check of a stream took.", ["stream"], registry=REGISTRY)
# (lake, streams, which reports to keep) → reports
Check = Callable[[LakeSettings, Sequence[Stream], Callable[[Report], bool]], list[Report]]
log = structlog.get_logger("verify")


@dataclass
class Watcher:
    """What the loop remembers between two rounds. `check` gives a report for each stream, of which it keeps those that a function
    chooses, or raises where a server is away."""

    lake: LakeSettings
    check: Check = lambda lake, streams, keep: verify(lake, streams, wait=None, keep=keep)
    state: str = "starting"
    reason: str = ""
    known: set[str] = field(default_factory=set)
    told: dict[str, tuple[object, ...]] = field(default_factory=dict)

    def round(self) -> None:
        """One check of all streams whose contract can be read. Nothing that a server does ends the loop."""
        try:
            contracts, _ = load_each(self.lake.contracts)
            reports = self.check(self.lake, list(contracts.values()), self._is_news)
        except Exception as failure:  # drivers of four servers raise many kinds; a watcher that ends is worse than any
            self.state, self.reason = "waiting", _line(failure)
            log.warning("waiting", reason=self.reason, kind=type(failure).__name__)
            return
        self.state, self.reason = "running", ""
        checked = {report.stream for report in reports}
        for stream in self.known - checked:
            for gauge in (DEVIATIONS, GIVEN_UP, CHECKED, SECONDS):
                gauge.remove(stream)
        self.known = checked
        for report in reports:
            self._tell(report)

    def _is_news(self, report: Report) -> bool:
        """Whether it says anything that the one before did not: a lake that rests fills no ledger."""
        says = (dict(report.reached), report.deviations, dict(report.accepted))
        before, self.told[report.stream] = self.told.get(report.stream), says
        return before != says

    def _tell(self, report: Report) -> None:
        # A contract that waits for `sluice apply` has no tables yet, and nothing that could be wrong.
        found = [one for one in report.deviations if one.kind != "tables"]
        DEVIATIONS.labels(report.stream).set(len(found))
        GIVEN_UP.labels(report.stream).set(sum(report.accepted.values()))
        CHECKED.labels(report.stream).set(time.time())
        SECONDS.labels(report.stream).set(report.seconds)
        for one in found:
            log.error("deviation", stream=report.stream, kind=one.kind, found=one.line())

    def document(self) -> dict[str, object]:
        """What `/healthz` answers."""
        return {"state": self.state, "reason": self.reason, "streams": sorted(self.known)}


def keep_checking(watcher: Watcher, settings: VerifySettings, stop: threading.Event) -> None:
    """Rounds until `stop` is set; the sooner the next one, where a server was away."""
    while not stop.is_set():
        started = time.monotonic()
        watcher.round()
        pause = settings.interval if watcher.state == "running" else min(settings.interval, 30.0)
        stop.wait(max(1.0, pause - (time.monotonic() - started)))


def serve(settings: VerifySettings, watcher: Watcher) -> ThreadingHTTPServer:
    """Answer /healthz and /metrics (with those of disks and certificates) in a thread of its own.

    A server that is away is no failure of this part.
    """
    REGISTRY.register(Watched(paths(settings.disks), paths(settings.certificates)))
    return exposition.serve(
        settings.host, settings.port, "SLUICE_VERIFY_PORT", REGISTRY, lambda: (True, watcher.document())
    )


def _line(failure: BaseException) -> str:
    lines = str(failure).strip().splitlines()
    return (lines[0] if lines else type(failure).__name__)[:500]
