"""Events a second into the gateway's spool, each request synced before it counts, and from there to Kafka.

It works on the spool itself, without HTTP: what a disk and one worker can do. The gateway's own code runs, on a topic and in a
folder of the benchmark's own.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

from catalog import kafka_client
from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from catalog.topics import ensure_topics
from infra.bench.quantiles import quantiles
from ingest_gateway import logs
from ingest_gateway.broker import Broker
from ingest_gateway.ids import Uuid7
from ingest_gateway.produce import Producer
from ingest_gateway.records import Records
from ingest_gateway.settings import GatewaySettings, gateway_settings
from ingest_gateway.spool.link import Link
from ingest_gateway.spool.spool import Spool

EVENT_BYTES, BATCH = 300, 100
PATIENCE = 300.0  # seconds
WRITERS = {"singles": 256, "batches": 16}  # requests that wait at a time


class _Closed(Link):
    """A way to Kafka that can be shut."""

    def __init__(self, broker: Broker, producer: Producer) -> None:
        super().__init__(broker, producer)
        self.opened = asyncio.Event()

    async def reachable(self) -> None:
        await self.opened.wait()
        await super().reachable()


def spool(lake: LakeSettings, folder: Path, events: int) -> dict[str, Any]:
    """Spool `events` in requests of one and again in requests of 100, and drain both."""
    logs.silence()
    topic = f"bench_spool_{uuid4().hex[:8]}"
    asyncio.run(ensure_topics(lake, [topic]))
    try:
        return uvloop.run(_measure(lake, topic, folder, events))
    finally:
        asyncio.run(_delete(lake, topic))


async def _measure(lake: LakeSettings, topic: str, folder: Path, events: int) -> dict[str, Any]:
    settings = gateway_settings()
    found: dict[str, Any] = {"event_bytes": EVENT_BYTES, "batch": BATCH}
    for shape, size in (("singles", 1), ("batches", BATCH)):
        async with _running(lake, settings, folder / shape) as (store, link):
            requests = _requests(events // size, size)
            started = time.perf_counter()
            times = await _fill(store, topic, requests, WRITERS[shape])
            filled = time.perf_counter() - started
            held, size_on_disk = store.held()[topic].events, store.space.held
            link.opened.set()
            started = time.perf_counter()
            while store.holds(topic):
                if time.perf_counter() - started > PATIENCE:
                    raise SluiceError(
                        f"The spool is not drained after {PATIENCE:.0f} s: is Kafka there? `sluice status`"
                    )
                await asyncio.sleep(0.005)
            drained = time.perf_counter() - started
        found[shape] = {
            "events": held,
            "spooled_events_per_s": held / filled,
            "spooled_mb_per_s": size_on_disk / filled / 1e6,
            "request_ms": {name: value * 1000 for name, value in quantiles(times).items()},
            "drained_events_per_s": held / drained,
        }
    return found


@asynccontextmanager
async def _running(lake: LakeSettings, settings: GatewaySettings, folder: Path) -> Any:
    broker = Broker(lake, settings)
    link = _Closed(broker, Producer(broker, settings.produce_timeout))
    store = Spool(folder, limit=1 << 40, drain_bytes=1 << 40, timeout=60, kafka=link)
    await store.start()
    broker.start()
    try:
        yield store, link
    finally:
        await store.close()
        await broker.stop()


async def _fill(store: Spool, topic: str, requests: Iterator[Records], writers: int) -> list[float]:
    """Seconds from handing each request over to its being synced."""
    times: list[float] = []

    async def writer() -> None:
        for records in requests:
            started = time.perf_counter()
            await store.put(topic, records, overtaking=True)
            times.append(time.perf_counter() - started)

    await asyncio.gather(*(writer() for _ in range(writers)))
    return times


def _requests(count: int, size: int) -> Iterator[Records]:
    mint = Uuid7()
    payload = b'{"note":"' + b"x" * (EVENT_BYTES - 11) + b'"}'
    headers = [(f"ce_{name}", b"1.0.0") for name in ("specversion", "source", "type", "time", "contractversion")]
    for _ in range(count):
        ids = [name.encode() for name in mint(size)]
        yield Records(ids, [payload] * size, ids, headers, None, time.time_ns() // 1_000_000)


async def _delete(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.admin(lake) as admin:
        await admin.delete_topics([topic])
