"""Kafka's data of a time before it had users."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from catalog import kafka_client
from catalog.settings import LakeSettings
from infra.native import config
from infra.native.cache import cache_folder
from infra.native.fetch import fetch
from infra.native.kafka import _java, _prepare, properties
from tests.stack import Stack, ending_with_us, eventually, patient

pytestmark = pytest.mark.stack


@contextmanager
def kafka_without_users(stack: config.Stack) -> Iterator[LakeSettings]:
    """As the first versions started it."""
    etc = stack.folder("etc", "kafka")
    _prepare(stack, etc)
    old = {name: value for name, value in properties(stack).items() if "sasl" not in name and "authorizer" not in name}
    old |= {"listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT"}
    (etc / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in old.items()))
    command = ending_with_us([*_java(stack, etc), "kafka.Kafka", str(etc / "server.properties")], "TERM")
    lake = LakeSettings.model_construct(kafka_bootstrap=stack.address("kafka"))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            eventually(lambda: answers(lake), 60, "Kafka")
            yield lake
        finally:
            process.terminate()
            process.wait(patient(60))


def answers(lake: LakeSettings) -> bool:
    async def ask() -> bool:
        async with kafka_client.admin(lake) as admin:
            return bool((await admin.describe_cluster())["brokers"])

    try:
        return asyncio.run(ask())
    except KafkaError:
        return False


async def write(lake: LakeSettings) -> None:
    async with kafka_client.admin(lake) as admin:
        await admin.create_topics([NewTopic("kept", 1, 1)])
    async with kafka_client.producer(lake, acks="all") as producer:
        await producer.send_and_wait("kept", b"of before")


async def read(lake: LakeSettings) -> bytes:
    async with kafka_client.consumer(lake, "kept", auto_offset_reset="earliest") as consumer:
        value: bytes = (await consumer.getone()).value
        return value


def test_data_of_a_time_before_users_is_there_and_is_guarded(fresh: Stack) -> None:
    fetch({"kafka"}, cache_folder())
    chosen = config.choose(fresh.state, {}, base=fresh.port_base)
    config.save(chosen)
    with kafka_without_users(chosen) as lake:
        asyncio.run(write(lake))
    fresh.up("kafka")
    assert asyncio.run(asyncio.wait_for(read(fresh.lake("stream")), patient(60))) == b"of before"
    with pytest.raises(kafka_client.RefusedError, match="may want a user"):
        asyncio.run(read(lake))
