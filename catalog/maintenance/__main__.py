"""Maintenance beside a running lake: `python -m catalog.maintenance`, a round after the other until SIGTERM or SIGINT."""

import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from catalog import service
from catalog.errors import SluiceError
from catalog.maintenance import metrics
from catalog.maintenance.rounds import last_orphan_searches, leased, one_round, tables, tools_for
from catalog.maintenance.settings import MaintenanceSettings, maintenance_settings
from catalog.maintenance.tools import FAILED, ORPHANS, Tools
from catalog.settings import LakeSettings, lake_settings

# Snapshots that may go, before it is worth a commit.
FEWEST_SNAPSHOTS = 60
# Rounds between two looks at the metadata folders.
LOOK_EVERY = 10
BACKOFF_MOST = 60.0
GRACE = 5.0  # seconds for a round to end
log = structlog.get_logger("maintenance")


class Maintenance:
    """What is remembered from one round to the next."""

    def __init__(self, lake: LakeSettings, settings: MaintenanceSettings, health: metrics.Health) -> None:
        self._lake = lake
        self._every = timedelta(hours=settings.orphan_interval_hours)
        self._health = health
        self._searched: dict[str, datetime] | None = None
        self._known: set[str] = set()
        self._rounds = 0

    def round(self, tools: Tools) -> None:
        """One round over all tables. Raises what the servers' clients raise while one is away."""
        if self._searched is None:
            self._searched = last_orphan_searches(tools.catalog, self._every)
        chosen = tables(tools.catalog)
        done = one_round(tools, chosen, self._orphans_due, fewest_snapshots=FEWEST_SNAPSHOTS, at=self._at)
        self._searched |= {one.table: one.at for one in done if one.action == ORPHANS}
        metrics.count(done)
        for identifier in chosen:
            metrics.observe(tools, identifier, with_metadata=self._rounds % LOOK_EVERY == 0)
        metrics.forget(self._known - set(chosen))
        self._known = set(chosen)
        self._rounds += 1
        self._health.table = ""
        for one in done:
            log.info(one.action, **{name: value for name, value in vars(one).items() if name not in ("at", "action")})
        if all(one.outcome != FAILED for one in done):
            metrics.LAST.set_to_current_time()

    def _at(self, identifier: str) -> None:
        self._health.table = identifier

    def _orphans_due(self, identifier: str) -> bool:
        last = (self._searched or {}).get(identifier)
        return last is None or datetime.now(UTC) - last >= self._every


def run(lake: LakeSettings, settings: MaintenanceSettings, health: metrics.Health, stop: threading.Event) -> None:
    """Rounds until `stop` is set. Nothing that a server or a table does ends the loop."""
    maintenance, tools = Maintenance(lake, settings, health), tools_for(lake)
    failures = 0
    with closing(tools.java):
        while not stop.is_set():
            try:
                with leased(lake, wait=settings.interval):
                    maintenance.round(tools)
                health.become("running")
                failures = 0
            except MemoryError as failure:
                service.end_without_memory(log, failure)
            except Exception as failure:  # servers that are away show in many kinds
                failures += 1
                reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
                health.become("waiting", reason)
                log.error("waiting", reason=reason, kind=type(failure).__name__, attempt=failures)
                tools.java.close()  # its connections may be the reason
            stop.wait(min(2.0**failures, BACKOFF_MOST) if failures else settings.interval)


def main() -> int:
    """Until SIGTERM or SIGINT; 1 if a setting can't work."""
    service.log_as_json()
    try:
        lake, settings, health = lake_settings(), maintenance_settings(), metrics.Health()
        metrics.serve(settings.host, settings.port, health)
    except SluiceError as refused:
        log.error("refused", reason=str(refused))
        return 1
    log.info("started", interval=settings.interval)
    # What is half done is done again or found as orphans: a file that is being merged is not worth a wait.
    service.run_until_told(partial(run, lake, settings, health), log, GRACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
