"""Build the gold models, and keep them fresh: `python -m catalog.gold_refresh`.

The loop looks at the snapshots of the silver tables that incremental models read, which costs one small query. Only when they
changed does it refresh these models. Views need no refresh. A model that no longer counts every row of silver (rows were
replayed or erased) is built anew. Trino being away is waited for.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog import gold_metrics, names, query, service
from catalog.errors import SluiceError
from catalog.gold_project import DEFAULT_STATE, GoldProject, GoldResult
from catalog.settings import LakeSettings, lake_settings, read_settings

INCREMENTAL = "config.materialized:incremental"
COMPLETE = "test_name:counts_every_row_of"
BACKOFF_MOST = 30.0
GRACE = 8.0  # seconds for a round to end
log = structlog.get_logger("gold")


class GoldSettings(BaseSettings):
    """How often gold is looked after (seconds), and where that is told."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    state: Path = DEFAULT_STATE
    gold_interval: float = Field(30.0, ge=1, description="between two looks at silver's snapshots")
    gold_test_interval: float = Field(3600.0, ge=1, description="between two runs of all tests of the gold models")
    gold_host: str = "127.0.0.1"
    gold_port: int = Field(8093, ge=0, le=65535, description="/metrics and /healthz of the part `gold`")


def build(
    settings: LakeSettings, select: Iterable[str] = (), *, test: bool = False, project: GoldProject | None = None
) -> GoldResult:
    """Build the models (all that silver has tables for, or dbt's `select`), and run their tests if asked.

    Raises TrinoAwayError when Trino takes no queries, SluiceError when dbt can't go on. A model that failed is in the result.
    """
    project = project or GoldProject(settings, read_settings(GoldSettings).state)
    present = silver_tables(settings)
    result = project.run("run", present=present, select=select)
    return result + project.run("test", present=present, select=select) if test else result


def refresh(settings: LakeSettings, project: GoldProject, at: Mapping[str, int]) -> GoldResult:
    """Merge what is new at the snapshots `at` into the incremental models; one that then misses rows is built anew."""
    present = silver_tables(settings)
    result = project.run("build", present=present, select=[INCREMENTAL, COMPLETE], snapshots=at)
    if not any(node.kind == "test" and node.status == "fail" for node in result.nodes):
        return result
    log.warning("rebuild", reason="rows of silver were replayed or removed behind the last refresh")
    return project.run("build", present=present, select=[INCREMENTAL, COMPLETE], full=True, snapshots=at)


def silver_tables(settings: LakeSettings) -> set[str]:
    """Names of the tables in silver. Raises TrinoAwayError."""
    found = query.rows(
        settings, "select table_name from information_schema.tables where table_schema = ?", [names.SILVER]
    )
    return {row["table_name"] for row in found}


def snapshots(settings: LakeSettings, tables: Iterable[str]) -> dict[str, int]:
    """The current snapshot of each silver table; a table without one is left out."""
    parts = [
        f"select {query.literal(name)} as name, snapshot_id from "
        f"{query.identifier(names.SILVER, name + '$refs')} where name = 'main'"
        for name in sorted(tables)
    ]
    if not parts:
        return {}
    return {row["name"]: row["snapshot_id"] for row in query.rows(settings, " union all ".join(parts))}


@dataclass
class Refresher:
    """What the loop remembers between two rounds."""

    settings: LakeSettings
    pace: GoldSettings
    project: GoldProject
    clock: Callable[[], float] = time.monotonic
    built_for: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)
    tested_at: float | None = None
    health: dict[str, object] = field(default_factory=lambda: {"state": "starting", "reason": ""})

    def round(self) -> None:
        """One look: build what is not there yet, merge what is new, test now and then. Raises SluiceError."""
        present = silver_tables(self.settings) & self.project.sources()
        now = snapshots(self.settings, self.project.watched() & present)
        gold_metrics.TRINO_UP.set(1)
        began = self.clock()
        if present != self.built_for:
            result = build(self.settings, project=self.project)
            self._report("built", result, began)
            self.built_for = present if result.ok else set()
        elif now != self.seen:
            self._report("refreshed", refresh(self.settings, self.project, now), began)
        self.seen = now
        gold_metrics.CHECKED.set_to_current_time()
        # Whether or not there was work: a lake that is written to all the time has it at each look.
        if present and present == self.built_for and self._tests_are_due():
            began = self.clock()
            self._report("tested", self.project.run("test", present=present), began)
            self.tested_at = self.clock()

    def _report(self, work: str, result: GoldResult, began: float) -> None:
        gold_metrics.done(work, result, self.clock() - began)
        facts = {"nodes": len(result.nodes), "models": list(result.models), "absent": list(result.absent)}
        (log.info if result.ok else log.error)(work, **facts, ok=result.ok)
        for node in result.failures:
            log.error("failed", node=node.name, node_kind=node.kind, status=node.status, reason=node.message)

    def _tests_are_due(self) -> bool:
        return self.tested_at is None or self.clock() - self.tested_at >= self.pace.gold_test_interval


def keep_fresh(refresher: Refresher, stop: threading.Event) -> None:
    """Rounds until `stop` is set. Nothing that Trino, dbt or a model does ends the loop."""
    failures = 0
    while not stop.is_set():
        try:
            refresher.round()
            failures = 0
            refresher.health.update(state="running", reason="")
        except query.TrinoAwayError as away:
            failures += 1
            gold_metrics.TRINO_UP.set(0)
            refresher.health.update(state="waiting", reason=str(away))
            if failures == 1:
                log.warning("waiting", reason=str(away))
        except (
            Exception
        ) as failure:  # dbt and the Trino client raise many kinds; a refresher that ends is worse than any
            failures += 1
            refresher.health.update(state="failing", reason=query.one_line(str(failure)))
            log.error("failed", reason=query.one_line(str(failure)), kind=type(failure).__name__, attempt=failures)
        pause = min(2.0**failures, BACKOFF_MOST) if failures else refresher.pace.gold_interval
        stop.wait(pause)


def main() -> int:
    """Run until SIGTERM or SIGINT; 1 if a setting can't work."""
    service.log_as_json()
    try:
        settings, pace = lake_settings(), read_settings(GoldSettings)
        refresher = Refresher(settings, pace, GoldProject(settings, pace.state))
        gold_metrics.serve(pace.gold_host, pace.gold_port, refresher.health)
    except SluiceError as refused:
        log.error("refused", reason=str(refused))
        return 1
    log.info("started", interval=pace.gold_interval, trino=settings.trino_url)
    # A statement that runs on in Trino is atomic: waiting for it longer gains nothing.
    service.run_until_told(partial(keep_fresh, refresher), log, GRACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
