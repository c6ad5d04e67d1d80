"""Where Kafka is, beside where the tables are."""

from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition

from catalog import kafka_client
from catalog.settings import LakeSettings

# Records of a transaction that was given up are no events; those of one that is open are not there yet.
ISOLATION = "read_committed"


class GoneError(Exception):
    """Kafka no longer has records that bronze lacks. The message names the stream, the partition and the offsets."""


async def topic_bounds(settings: LakeSettings, topics: Iterable[str]) -> dict[str, dict[int, tuple[int, int]]]:
    """topic → partition → (first offset that is still there, next offset to be written). Missing topics are left out."""
    partitions = await _partitions(settings, set(topics))
    if not partitions:
        return {}
    places = [TopicPartition(topic, partition) for topic, count in partitions.items() for partition in range(count)]
    options = {"isolation_level": ISOLATION, "request_timeout_ms": 15_000}
    async with kafka_client.consumer(settings, *partitions, **options) as consumer:
        begin, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    bounds: dict[str, dict[int, tuple[int, int]]] = {}
    for place in places:
        bounds.setdefault(place.topic, {})[place.partition] = (begin[place], end[place])
    return bounds


async def cluster_id(settings: LakeSettings) -> str:
    """What the cluster calls itself: a cluster whose data was lost comes back with another id. Empty where it says none."""
    async with kafka_client.admin(settings) as admin:
        return str((await admin.describe_cluster()).get("cluster_id") or "")


async def _partitions(settings: LakeSettings, topics: set[str]) -> dict[str, int]:
    """Topic → number of partitions, of those that exist."""
    async with kafka_client.admin(settings) as admin:
        existing = sorted(topics & set(await admin.list_topics()))
        described = await admin.describe_topics(existing) if existing else []
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


def starting_offsets(topic: str, bounds: Mapping[int, tuple[int, int]], bronze: Mapping[int, int]) -> dict[int, int]:
    """For each partition the offset to read from. Raises GoneError where Kafka's retention has overtaken bronze."""
    start: dict[int, int] = {}
    for partition, (begin, end) in bounds.items():
        wanted = bronze.get(partition, 0)
        if begin > wanted:
            raise GoneError(
                f"{topic}: Kafka no longer has offsets {wanted} to {begin - 1} of partition {partition}; to go on without "
                f"them: sluice stream --accept-loss {topic}:{partition}:{wanted}-{begin - 1}"
            )
        if wanted > end:
            raise GoneError(
                f"{topic}: bronze has offsets up to {wanted - 1} of partition {partition}, but the topic ends at {end - 1}; "
                "it was deleted and made anew"
            )
        start[partition] = wanted
    return start
