"""What a batch takes on a small table, and on one of a hundred times its size: of events, and of entities that are merged."""

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from pyiceberg.catalog.sql import SqlCatalog

from catalog import names
from catalog.apply import apply
from catalog.lake import open_catalog
from catalog.progress import table_progress
from catalog.settings import LakeSettings
from catalog.topics import ensure_topics
from infra.bench.fill import Record, fill, producing, record, write, write_contract
from infra.bench.own_job import OwnJob, own_job, wait_until
from infra.bench.stream.show import Watcher

TIMES = 100
# Small batches that are measured, and those before them that are not, since a process is slow at first.
MEASURED, WARM_UP = 40, 15
ROWS = 500
KINDS = ("events", "entities")


@dataclass
class _Grown:
    """One stream with its table: of `size` orders so far."""

    lake: LakeSettings
    catalog: SqlCatalog
    name: str
    entity: bool
    job: OwnJob
    written: int = 0
    size: int = 0
    mark: int = 0

    def grow(self, size: int) -> None:
        """Write orders up to this number, and wait for them."""
        fill(self.lake, names.topic(self.name), (record(self.name, n) for n in range(self.size, size)))
        self.written += size - self.size
        self.size = size
        self._settled()

    def batches(self, count: int, draw: random.Random) -> list[float]:
        """Seconds of so many small batches, one after the other. Of entities, nine in ten rows replace one of the table's."""
        before = len(self.job.batches())
        asyncio.run(self._in_turn(count, draw))
        return [seconds for seconds, rows in self.job.batches()[before:] if rows >= ROWS / 2]

    async def _in_turn(self, count: int, draw: random.Random) -> None:
        """Each after the one before is in silver, so that on a slow machine too they stay as small as they are meant to be."""
        async with producing(self.lake) as producer:
            for _ in range(count):
                await write(producer, names.topic(self.name), self._some(draw))
                await asyncio.to_thread(self._settled)

    def _some(self, draw: random.Random) -> list[Record]:
        self.mark += 1
        old = draw.sample(range(self.size), ROWS * 9 // 10) if self.entity else []
        new = range(self.size, self.size + ROWS - len(old))
        self.size += len(new)
        self.written += ROWS
        return [record(self.name, n, f"-{self.mark}") for n in (*old, *new)]

    def _settled(self) -> None:
        silver = names.table(names.SILVER, self.name)
        wait_until(
            lambda: table_progress(self.catalog.load_table(silver)).totals.rows >= self.written, f"silver has all of {self.name}"
        )  # fmt: skip


def growth(lake: LakeSettings, records: int, folder: Path, see: Watcher) -> dict[str, Any]:
    """Median seconds of a batch of ROWS rows on a table of `records` / 100 rows, and of `records`; one stream after the other."""
    return {"rows_of_a_batch": ROWS, **{kind: _one(lake, kind, records, folder / kind, see) for kind in KINDS}}


def _one(lake: LakeSettings, kind: str, records: int, folder: Path, see: Watcher) -> dict[str, Any]:
    place = KINDS.index(kind) / len(KINDS)

    def at(what: str, share: float) -> None:
        see(f"{kind}: {what}", place + share / len(KINDS))

    contracts = folder / "contracts"
    contracts.mkdir(parents=True)
    stream = write_contract(contracts, f"bench_{kind}_{uuid4().hex[:8]}", entity=kind == "entities")
    asyncio.run(ensure_topics(lake, [names.topic(stream.name)]))
    apply(lake, {stream.name: stream})
    load = os.getloadavg()[0]
    with own_job(contracts, folder / "job") as job:
        job.await_running()
        one = _Grown(lake, open_catalog(lake), stream.name, kind == "entities", job)
        small = _measured(one, records // TIMES, lambda what: at(what, 0.1))
        large = _measured(one, records, lambda what: at(what, 0.6))
    return {
        "load_before": load, "rss_mb": job.peak_rss / 1e6, "small": small, "large": large,
        "ratio": large["batch_s"] / small["batch_s"],
    }  # fmt: skip


def _measured(one: _Grown, size: int, say: Callable[[str], None]) -> dict[str, Any]:
    say(f"a table of {size:,} rows")
    one.grow(max(size, 2 * ROWS))
    say(f"small batches on {size:,} rows")
    draw = random.Random(7)
    one.batches(WARM_UP, draw)
    found = one.batches(MEASURED, draw)
    return {"rows": size, "batches": len(found), "batch_s": median(found), "slowest_s": max(found)}
