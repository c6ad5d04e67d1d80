"""Rows a second when the stream job catches up, beside a bare Spark append of the same records to one Iceberg table.

A topic of the benchmark's own is filled first. Then two processes run one after the other, each from its start: a bare append
(Kafka → one table, no headers, no checks) and the stream job itself (bronze, quarantine and silver).
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from catalog import names
from catalog.apply import apply
from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.lake import open_catalog
from catalog.progress import table_progress
from catalog.settings import LakeSettings
from catalog.topics import ensure_topics
from infra.bench.fill import fill, record, write_contract
from infra.bench.own_job import LIMIT, own_job, wait_until


def catchup(lake: LakeSettings, records: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Fill a topic with `records` of about 285 bytes (one in 1,000 for quarantine), then time both. Rows a second."""
    name = f"bench_{uuid4().hex[:8]}"
    contracts = folder / "contracts"
    contracts.mkdir(parents=True)
    stream = write_contract(contracts, name)
    asyncio.run(ensure_topics(lake, [names.topic(name)]))
    say(f"filling a topic with {records:,} records")
    fill(lake, names.topic(name), (record(name, n) for n in range(records)))
    say("a bare Spark append")
    load = os.getloadavg()[0]
    bare = _bare(lake, stream, records, folder)
    say("the stream job")
    apply(lake, {name: stream})
    job = _job(lake, stream, records, contracts, folder)
    ratio = job["rows_per_s"] / bare["rows_per_s"]
    return {"records": records, "load_before": load, "bare_append": bare, "stream_job": job, "ratio": ratio}


def _bare(lake: LakeSettings, stream: Stream, records: int, folder: Path) -> dict[str, float]:
    environment = {**os.environ, "SLUICE_STATE": str(folder / "bare")}
    command = [sys.executable, "-m", "infra.bench.bare_append", names.topic(stream.name), str(records)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        last = (done.stderr.splitlines() or ["it said nothing"])[-1]
        raise SluiceError(f"The bare append failed: {last}")
    figures: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
    return figures


def _job(lake: LakeSettings, stream: Stream, records: int, contracts: Path, folder: Path) -> dict[str, float]:
    silver = names.table(names.SILVER, stream.name)
    catalog = open_catalog(lake)
    started = time.monotonic()
    with own_job(contracts, folder / "job") as job:
        running = job.await_running()
        done = wait_until(
            lambda: table_progress(catalog.load_table(silver)).totals.rows >= records, "silver has all rows"
        )
    return {
        "seconds": done - started,
        "start_s": running - started,
        "rows_per_s": records / (done - running),
        "rows_per_s_from_start": records / (done - started),
        "rss_mb": job.peak_rss / 1e6,
    }
