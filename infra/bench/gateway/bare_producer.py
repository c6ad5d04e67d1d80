"""`python -m infra.bench.gateway.bare_producer TOPIC SECONDS`: the limit of the Kafka client in Python.

The records that the gateway makes of the batches, from memory, in batches as large as the gateway's: idempotent, acks=all.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator

import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from catalog import kafka_client, names
from catalog.settings import lake_settings
from infra.bench.gateway.shapes import BATCHES, bodies
from ingest_gateway.ids import Uuid7
from ingest_gateway.keys import partitions
from ingest_gateway.settings import gateway_settings

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]
UNDER_WAY = 2  # batches a partition


async def produce(topic: str, seconds: float) -> dict[str, float]:
    """Events a second, from the first record that is put into a batch to the last acknowledgement."""
    size = gateway_settings().batch_bytes
    options = {"acks": "all", "enable_idempotence": True, "max_batch_size": size}
    async with kafka_client.producer(lake_settings(), **options) as producer:
        shares = _shares(topic, len(await producer.partitions_for(topic)))
        started = time.perf_counter()
        until = started + seconds
        written = await asyncio.gather(
            *(_partition(producer, topic, partition, share, until) for partition, share in shares.items())
        )
        took = time.perf_counter() - started
    return {"accepted_events_per_s": sum(written) / took, "events": sum(written), "cpu_s": time.process_time()}


async def _partition(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Iterator[Record], until: float
) -> int:
    waiting: list[asyncio.Future[object]] = []
    written = 0
    timestamp = time.time_ns() // 1_000_000
    while time.perf_counter() < until:
        batch = producer.create_batch()
        for key, value, headers in records:  # the one that no longer fits is left out: there are plenty
            if batch.append(key=key, value=value, timestamp=timestamp, headers=headers) is None:
                break
        written += batch.record_count()
        waiting.append(await producer.send_batch(batch, topic, partition=partition))
        if len(waiting) > UNDER_WAY:
            await waiting.pop(0)
    await asyncio.gather(*waiting)
    return written


def _shares(topic: str, count: int) -> dict[int, Iterator[Record]]:
    """An endless supply for each partition of a topic."""
    events = [line for body in bodies(BATCHES) for line in body.split(b"\n")]
    ids = [name.encode() for name in Uuid7()(len(events))]
    keys = [orjson.loads(event)["order_id"].encode() for event in events]
    common = [
        (names.H_CONTENT_TYPE, b"application/json"), (names.H_SPEC_VERSION, b"1.0"),
        (names.H_SOURCE, f"/v1/streams/{topic}".encode()), (names.H_TYPE, topic.encode()),
        (names.H_TIME, b"2026-11-21T12:00:00.123456Z"),
        (names.H_CONTRACT_VERSION, b"1.0.0"), (names.H_PRODUCER, b"anonymous"),
    ]  # fmt: skip
    shares: dict[int, list[Record]] = {partition: [] for partition in range(count)}
    for place, partition in enumerate(partitions(keys, count)):
        shares[partition].append((keys[place], events[place], [*common, (names.H_ID, ids[place])]))
    return {partition: itertools.cycle(share) for partition, share in shares.items()}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(produce(sys.argv[1], float(sys.argv[2])))))
