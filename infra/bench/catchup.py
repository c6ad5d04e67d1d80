"""Rows a second when the stream job catches up, beside a bare Spark append of the same records to one Iceberg table.

A topic of the benchmark's own is filled first. Then two processes run one after the other, each from its start: a bare append
(Kafka → one table, no headers, no checks) and the stream job itself (bronze, quarantine and silver).
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from catalog import names
from catalog.apply import apply
from catalog.contract import SUFFIX, Stream
from catalog.lake import open_catalog
from catalog.odcs import load_contract
from catalog.progress import table_progress
from catalog.settings import LakeSettings
from catalog.topics import ensure_topics

LIMIT = 900.0
CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: {name}
version: 1.0.0
status: active
schema:
  - name: {name}
    properties:
      - {{name: order_id, logicalType: string, required: true, primaryKey: true, logicalTypeOptions: {{format: uuid}}}}
      - {{name: product_id, logicalType: string, required: true, logicalTypeOptions: {{pattern: '^[A-Z]{{3,6}}[0-9]{{3}}$'}}}}
      - {{name: quantity, logicalType: integer, physicalType: int, required: true, logicalTypeOptions: {{minimum: 1}}}}
      - {{name: unit_price, logicalType: number, physicalType: 'decimal(10,2)'}}
      - {{name: note, logicalType: string, logicalTypeOptions: {{maxLength: 200}}}}
      - {{name: timestamp, logicalType: timestamp, required: true, partitioned: true}}
    quality:
      - {{name: plausible, type: custom, engine: sql, implementation: quantity <= 1000, severity: error}}
"""


def catchup(lake: LakeSettings, records: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Fill a topic with `records` of about 285 bytes (one in 1,000 for quarantine), then time both. Rows a second."""
    name = f"bench_{uuid4().hex[:8]}"
    contracts = folder / "contracts"
    contracts.mkdir(parents=True)
    (contracts / f"{name}{SUFFIX}").write_text(CONTRACT.format(name=name))
    stream = load_contract(contracts / f"{name}{SUFFIX}")
    asyncio.run(ensure_topics(lake, [names.topic(name)]))
    say(f"filling a topic with {records:,} records")
    asyncio.run(_fill(lake, name, records))
    say("a bare Spark append")
    bare = _bare(lake, stream, records, folder)
    say("the stream job")
    apply(lake, {name: stream})
    job = _job(lake, stream, records, contracts, folder)
    return {"records": records, "bare_append": bare, "stream_job": job, "ratio": job["rows_per_s"] / bare["rows_per_s"]}


async def _fill(lake: LakeSettings, topic: str, records: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=lake.kafka_bootstrap,
        enable_idempotence=True,
        max_batch_size=512 * 1024,
        request_timeout_ms=60_000,
    )
    await producer.start()
    try:
        partitions = sorted(await producer.partitions_for(topic))
        waiting: list[Any] = []
        builders: dict[int, BatchBuilder] = {p: producer.create_batch() for p in partitions}
        for n in range(records):
            partition = partitions[n % len(partitions)]
            key, value, headers = _record(n, topic)
            if builders[partition].append(key=key, value=value, timestamp=None, headers=headers) is None:
                waiting.append(await producer.send_batch(builders[partition], topic, partition=partition))
                builders[partition] = producer.create_batch()
                builders[partition].append(key=key, value=value, timestamp=None, headers=headers)
                if len(waiting) > 64:
                    await asyncio.gather(*waiting)
                    waiting = []
        for partition, builder in builders.items():
            waiting.append(await producer.send_batch(builder, topic, partition=partition))
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()


def _record(n: int, topic: str) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    order = f"{n:08x}-0000-4000-8000-{n:012x}"
    body = {
        "order_id": order,
        "product_id": f"WHEY{n % 997 % 1000:03}",
        "quantity": 5_000 if n % 1_000 == 0 else n % 9 + 1,
        "unit_price": (n % 5_000) / 100,
        "note": "left at the door of the neighbour, who signs for it; second parcel follows on the next day "
        + "x" * 30,
        "timestamp": f"2026-11-{n % 3 + 1:02}T{n // 3 % 24:02}:00:00Z",
    }
    headers = [
        (names.H_CONTENT_TYPE, b"application/json"), (names.H_SPEC_VERSION, b"1.0"), (names.H_ID, f"{topic}-{n}".encode()),
        (names.H_SOURCE, b"/bench"), (names.H_TYPE, topic.encode()), (names.H_TIME, b"2026-11-21T12:00:00.123456Z"),
        (names.H_CONTRACT_VERSION, b"1.0.0"), (names.H_PRODUCER, b"anonymous"),
    ]  # fmt: skip
    return order.encode(), orjson.dumps(body), headers


def _bare(lake: LakeSettings, stream: Stream, records: int, folder: Path) -> dict[str, float]:
    environment = {**os.environ, "SLUICE_STATE": str(folder / "bare")}
    command = [sys.executable, "-m", "infra.bench.bare_append", names.topic(stream.name), str(records)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    figures: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
    return figures


def _job(lake: LakeSettings, stream: Stream, records: int, contracts: Path, folder: Path) -> dict[str, float]:
    port = int(os.environ.get("SLUICE_BENCH_PORT", "0")) or _free_port()
    environment = {
        **os.environ, "SLUICE_CONTRACTS": str(contracts), "SLUICE_STATE": str(folder / "job"),
        "SLUICE_STREAM_PORT": str(port), "SLUICE_STREAM_LEASE": "false",
    }  # fmt: skip
    silver = names.table(names.SILVER, stream.name)
    catalog = open_catalog(lake)
    started = time.monotonic()
    with _process([sys.executable, "-m", "stream_jobs"], environment, folder / "job.log"):
        running = _wait(lambda: _state(port) == "running", "the stream job runs")
        _wait(lambda: table_progress(catalog.load_table(silver)).totals.rows >= records, "silver has all rows")
        done = time.monotonic()
    return {"seconds": done - started, "start_s": running - started, "rows_per_s": records / (done - running)}


def _wait(condition: Callable[[], bool], what: str) -> float:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {LIMIT:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic()


def _state(port: int) -> str:
    try:
        return str(httpx.get(f"http://127.0.0.1:{port}/healthz").json()["state"])
    except httpx.HTTPError:
        return ""


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)
