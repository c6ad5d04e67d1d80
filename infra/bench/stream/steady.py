"""A load that goes on: freshness, lag, what a batch takes, the job's memory, and what the tables look like afterwards."""

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from catalog.contract import Stream
from catalog.settings import LakeSettings
from infra.bench.freshness import BATCHES_PER_SECOND, freshness
from infra.bench.stream.show import Watcher
from infra.bench.stream.tables import tables
from infra.native import control, processes

LOOK = 1.0  # seconds between two looks at the job
PHASES = ("read", "write", "judge", "commit")


def steady(
    lake: LakeSettings,
    streams: Mapping[str, Stream],
    state: Path,
    address: str,
    rate: int,
    minutes: float,
    see: Watcher,
) -> dict[str, Any]:
    """Send for so long. `state` is the stack's folder, `address` that of its stream job."""
    load, seconds = os.getloadavg()[0], max(1, round(minutes * 60))
    turns, done = seconds * BATCHES_PER_SECOND * len(streams), 0

    def tick() -> None:
        nonlocal done
        done += 1
        see(f"{rate:,} events/s over {len(streams)} streams", done / turns)

    with _watched(state, address) as job:
        before = job.now()
        found = asyncio.run(freshness(lake, streams, rate, seconds, tick))
        after = job.now()
    batches = after["batches"] - before["batches"]
    return {
        "rate": rate, "minutes": minutes, "load_before": load, "load_after": os.getloadavg()[0],
        "freshness": found,
        "lag_records": {"max": max(job.lags, default=0.0), "end": after["lag"]},
        "rss_mb": max(job.resident, default=0) / 1e6,
        "batches_per_s": batches / seconds,
        "phase_s": {name: (after[name] - before[name]) / batches if batches else None for name in PHASES},
        "tables": tables(lake, streams),
    }  # fmt: skip


@dataclass
class _Job:
    """The stack's stream job as its metrics and the system show it."""

    address: str
    state: Path
    lags: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)

    def now(self) -> dict[str, float]:
        """Batches so far, seconds of each phase so far, and the lag in records."""
        text = httpx.get(f"{self.address}/metrics", timeout=10, trust_env=False).raise_for_status().text
        found = {"lag": 0.0, "batches": 0.0, **dict.fromkeys(PHASES, 0.0)}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "sluice_stream_lag_records":
                    found["lag"] += sample.value
                elif sample.name == "sluice_stream_batches_total" and sample.labels["outcome"] == "done":
                    found["batches"] += sample.value
                elif sample.name == "sluice_stream_phase_seconds_sum":
                    found[sample.labels["phase"]] = sample.value
        return found

    def look(self) -> None:
        """Remember lag and memory of this moment."""
        status = control.view(self.state).parts.get("stream")
        if status is not None and status.process is not None:
            self.resident.append(processes.resident(status.process.pid))
        try:
            self.lags.append(self.now()["lag"])
        except httpx.HTTPError:
            return


@contextmanager
def _watched(state: Path, address: str) -> Iterator[_Job]:
    job, over = _Job(address, state), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            job.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield job
    finally:
        over.set()
        watcher.join()
