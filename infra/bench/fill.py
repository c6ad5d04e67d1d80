"""Topics of the benchmarks' own: their contract, and records of about 285 bytes written past the gateway."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from catalog import kafka_client, names
from catalog.contract import SUFFIX, Stream
from catalog.odcs import load_contract
from catalog.settings import LakeSettings

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
ENTITY = "customProperties: [{property: kind, value: entity}, {property: eventTime, value: timestamp}]\n"
NOTE = "left at the door of the neighbour, who signs for it; second parcel follows on the next day " + "x" * 30
Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def write_contract(folder: Path, name: str, *, entity: bool = False) -> Stream:
    """The contract of a benchmark's stream; an entity's key is the order."""
    path = folder / f"{name}{SUFFIX}"
    path.write_text(CONTRACT.format(name=name) + (ENTITY if entity else ""))
    return load_contract(path)


def record(stream: str, n: int, mark: str = "") -> Record:
    """Key, value and headers of the order number `n`; one in 1,000 is for quarantine. With another `mark` it is a later event
    about the same order."""
    order = f"{n:08x}-0000-4000-8000-{n:012x}"
    body = {
        "order_id": order,
        "product_id": f"WHEY{n % 997 % 1000:03}",
        "quantity": 5_000 if n % 1_000 == 0 else n % 9 + 1,
        "unit_price": (n % 5_000) / 100,
        "note": NOTE,
        "timestamp": f"2026-11-{n % 3 + 1:02}T{n // 3 % 24:02}:00:00Z",
    }
    headers = [
        (names.H_CONTENT_TYPE, b"application/json"), (names.H_SPEC_VERSION, b"1.0"),
        (names.H_ID, f"{stream}-{n}{mark}".encode()), (names.H_SOURCE, b"/bench"), (names.H_TYPE, stream.encode()),
        (names.H_TIME, b"2026-11-21T12:00:00.123456Z"), (names.H_CONTRACT_VERSION, b"1.0.0"), (names.H_PRODUCER, b"anonymous"),
    ]  # fmt: skip
    return order.encode(), orjson.dumps(body), headers


@asynccontextmanager
async def producing(lake: LakeSettings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer of large batches, all of which are in Kafka when it ends."""
    options = {"enable_idempotence": True, "max_batch_size": 512 * 1024, "request_timeout_ms": 60_000}
    async with kafka_client.producer(lake, **options) as producer:
        yield producer


async def write(producer: AIOKafkaProducer, topic: str, records: Iterable[Record]) -> None:
    """Write the records, each to the partition of its key, and wait until Kafka has them."""
    partitions = sorted(await producer.partitions_for(topic))
    waiting: list[Any] = []
    builders: dict[int, BatchBuilder] = {p: producer.create_batch() for p in partitions}
    for key, value, headers in records:
        partition = partitions[crc32(key) % len(partitions)]
        if builders[partition].append(key=key, value=value, timestamp=None, headers=headers) is None:
            waiting.append(await producer.send_batch(builders[partition], topic, partition=partition))
            builders[partition] = producer.create_batch()
            builders[partition].append(key=key, value=value, timestamp=None, headers=headers)
            if len(waiting) > 64:
                await asyncio.gather(*waiting)
                waiting = []
    for partition, builder in builders.items():
        if builder.record_count():
            waiting.append(await producer.send_batch(builder, topic, partition=partition))
    await asyncio.gather(*waiting)


def fill(lake: LakeSettings, topic: str, records: Iterable[Record]) -> None:
    """Write all of them."""

    async def run() -> None:
        async with producing(lake) as producer:
            await write(producer, topic, records)

    asyncio.run(run())
