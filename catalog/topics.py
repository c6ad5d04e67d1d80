"""Kafka topics of the streams: made once, widened on request, never shrunk."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError, for_code

from catalog import kafka_client
from catalog.errors import SluiceError
from catalog.settings import LakeSettings


async def ensure_topics(settings: LakeSettings, names: Iterable[str]) -> list[str]:
    """Create the topics that are missing and add partitions where the setting grew. Returns what was done, in words."""
    try:
        async with kafka_client.admin(settings, timeout_ms=20_000) as admin:
            return await _ensure(admin, settings, list(names))
    except KafkaError as failure:
        told = kafka_client.denial(settings, failure)
        raise SluiceError(told or f"The broker {settings.kafka_bootstrap} does not do it: {failure}") from None


async def _ensure(admin: AIOKafkaAdminClient, settings: LakeSettings, names: list[str]) -> list[str]:
    existing = set(await admin.list_topics())
    missing = [name for name in names if name not in existing]
    done = []
    if missing:
        retention = {"retention.ms": str(settings.topic_retention_hours * 3_600_000)}
        answer = await admin.create_topics(
            [
                NewTopic(n, settings.topic_partitions, settings.topic_replication, topic_configs=retention)
                for n in missing
            ]
        )
        _raise_for(settings, answer.topic_errors)
        done += [f"topic {name} with {settings.topic_partitions} partitions" for name in missing]
    described = await admin.describe_topics([n for n in names if n in existing]) if existing & set(names) else []
    narrow = [t["topic"] for t in described if len(t["partitions"]) < settings.topic_partitions]
    if narrow:
        answer = await admin.create_partitions({name: NewPartitions(settings.topic_partitions) for name in narrow})
        _raise_for(settings, answer.topic_errors)
        done += [f"topic {name} widened to {settings.topic_partitions} partitions" for name in narrow]
    return done


def _raise_for(settings: LakeSettings, errors: Iterable[tuple[str, int, str | None]]) -> None:
    for name, code, message, *_ in errors:
        # 36: somebody else has just created it, which is what was wanted.
        if code not in (0, 36):
            failure = for_code(code)(f"topic {name}")
            told = kafka_client.denial(settings, failure)
            raise SluiceError(told or f"topic {name}: {message or type(failure).__name__}")
