"""What Kafka still has of a stream, read beside everybody else: no group, nothing committed.

Between two records of a partition there may be offsets that never held one: markers of transactions, records of a transaction that
was given up, records that compaction took. They are void: no reader is ever given them.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager

import pyarrow as pa
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from catalog import kafka_client, names
from catalog.kafka_offsets import ISOLATION
from catalog.settings import LakeSettings
from stream_jobs.verify.report import Range

# Milliseconds without a record after which the position is looked at: it may have passed a void end.
POLL_MS = 500
# Polls without a step forward, before the broker counts as away.
PATIENCE = 60
HEADER = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
Bounds = Mapping[int, tuple[int, int]]


class KafkaStalledError(Exception):
    """The broker gives no records, although it says that it has some."""


async def records(lake: LakeSettings, stream: str, span: Range, most: int) -> AsyncIterator[list[ConsumerRecord]]:
    """The records of a span, at most so many at a time. Ends where the span does, be its last offsets void or not."""
    if not len(span):
        return
    place = TopicPartition(names.topic(stream), span.partition)
    async with _consumer(lake) as consumer:
        consumer.assign([place])
        consumer.seek(place, span.start)
        idle = 0
        while (at := await consumer.position(place)) < span.end:
            found = (await consumer.getmany(place, timeout_ms=POLL_MS, max_records=most)).get(place, [])
            if found:
                yield [record for record in found if record.offset < span.end]
            idle = 0 if await consumer.position(place) > at else idle + 1
            if idle > PATIENCE:
                raise KafkaStalledError(f"{stream}: Kafka gives nothing from offset {at} of partition {span.partition}")


async def held(lake: LakeSettings, stream: str, holes: list[Range]) -> list[Range]:
    """The parts of `holes` (of any partitions, in order) in which Kafka has records; the rest is void.

    What lies between two holes is read too, unless it is long."""
    found: list[Range] = []
    for group in _neighbours(holes):
        span = Range(group[0].partition, group[0].start, group[-1].end)
        wanted = iter(group)
        hole = next(wanted, None)
        async for batch in records(lake, stream, span, 5_000):
            for record in batch:
                while hole is not None and hole.end <= record.offset:
                    hole = next(wanted, None)
                if hole is not None and record.offset >= hole.start:
                    _extend(found, span.partition, record.offset)
    return found


def _neighbours(holes: list[Range]) -> Iterator[list[Range]]:
    """Holes of a partition that are read in one go."""
    group: list[Range] = []
    for hole in holes:
        if group and (hole.partition != group[-1].partition or hole.start - group[-1].end > 10_000):
            yield group
            group = []
        group.append(hole)
    if group:
        yield group


def _extend(found: list[Range], partition: int, offset: int) -> None:
    if found and found[-1].partition == partition and found[-1].end == offset:
        found[-1] = Range(partition, found[-1].start, offset + 1)
    else:
        found.append(Range(partition, offset, offset + 1))


async def is_compacted(lake: LakeSettings, stream: str) -> bool:
    """Whether Kafka drops older records of a key, so that bronze rightly has rows which Kafka has not."""
    wanted = ConfigResource(ConfigResourceType.TOPIC, names.topic(stream), configs={"cleanup.policy": None})
    async with kafka_client.admin(lake) as admin:
        answers = await admin.describe_configs([wanted])
    return any("compact" in str(entry[1]) for answer in answers for one in answer.resources for entry in one[4])


def table_of(batch: list[ConsumerRecord]) -> pa.Table:
    """Records in the shape in which the stream job gets them of Spark (`KAFKA_COLUMNS`)."""
    return pa.table(
        {
            "topic": pa.array([record.topic for record in batch], pa.string()),
            "partition": pa.array([record.partition for record in batch], pa.int32()),
            "offset": pa.array([record.offset for record in batch], pa.int64()),
            "timestamp": pa.array([record.timestamp for record in batch], pa.timestamp("ms", "UTC")).cast(
                pa.timestamp("us", "UTC")
            ),
            "value": pa.array([record.value for record in batch], pa.binary()),
            "headers": pa.array(
                [[{"key": key, "value": value} for key, value in record.headers] for record in batch], HEADER
            ),
        }
    )


def _consumer(lake: LakeSettings) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    return kafka_client.consumer(
        lake,
        isolation_level=ISOLATION,
        auto_offset_reset="none",
        request_timeout_ms=15_000,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
