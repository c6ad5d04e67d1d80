"""The broker lets in who has a password, and each account does its own work with topics and nothing else."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)

from catalog import kafka_client
from catalog.settings import LakeSettings
from infra.access import requests
from infra.access.accounts import ACCOUNTS, AT_BROKER, OPERATOR, Account
from infra.access.broker import make_users, rules
from infra.native import config
from infra.native.config import ADMINISTRATOR
from infra.native.kafka import as_administrator
from tests.gateway import Keys, running_gateway
from tests.stack import Stack, eventually, patient

pytestmark = pytest.mark.stack
DENIED = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError, TransactionalIdAuthorizationFailed)
each_account = pytest.mark.parametrize("account", AT_BROKER, ids=lambda account: account.name)


@pytest.fixture(scope="module")
def topic(stack: Stack) -> Iterator[str]:
    """One that holds a record."""
    name = f"access_{uuid.uuid4().hex[:8]}"

    async def make() -> None:
        async with kafka_client.admin(stack.lake()) as admin:
            await admin.create_topics([NewTopic(name, 1, 1)])
        async with kafka_client.producer(stack.lake()) as producer:
            await producer.send_and_wait(name, b"a")

    async def drop() -> None:
        async with kafka_client.admin(stack.lake()) as admin:
            await admin.delete_topics([name])

    asyncio.run(make())
    yield name
    asyncio.run(drop())


def may(attempt: Callable[[], Awaitable[None]]) -> bool:
    """Whether the broker lets do it. Raises what else goes wrong."""
    try:
        asyncio.run(asyncio.wait_for(attempt(), patient(30)))
    except DENIED:
        return False
    return True


async def reads(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.consumer(lake, topic, auto_offset_reset="earliest") as consumer:
        assert (await consumer.getone()).value == b"a"


async def sees(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.admin(lake) as admin:
        (found,) = await admin.describe_topics([topic])
        raise_for(found["error_code"])


async def writes(lake: LakeSettings, topic: str) -> None:
    """As the gateway does: numbered, acknowledged by all."""
    async with kafka_client.producer(lake, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"b")


async def transacts(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.producer(lake, transactional_id=f"{topic}-t") as producer, producer.transaction():
        await producer.send_and_wait(topic, b"c")


async def makes(lake: LakeSettings, topic: str) -> None:
    name = f"{topic}_made"
    async with kafka_client.admin(lake) as admin:
        answer = await admin.create_topics([NewTopic(name, 1, 1)])
        raise_for(answer.topic_errors[0][1])
    await drops(lake, name)


async def drops(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.admin(lake) as admin:
        answer = await admin.delete_topics([topic])
        raise_for(answer.topic_error_codes[0][1])


async def sets(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.admin(lake) as admin:
        change = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "604800000"})
        answer = await admin.alter_configs([change])
        raise_for(answer[0].resources[0][0])


async def asks(lake: LakeSettings, topic: str) -> None:
    async with kafka_client.admin(lake) as admin:
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"cleanup.policy": None})
        answer = await admin.describe_configs([wanted])
        raise_for(answer[0].resources[0][0])


def raise_for(code: int) -> None:
    if code:
        raise for_code(code)()


ALL = {reads, sees, writes, makes, sets, asks}
WANTED = {
    OPERATOR: ALL,
    "gateway": {sees, writes},
    "stream": {sees, reads},
    "verify": {sees, reads, asks},
    "explorer": {sees},
}


@each_account
def test_an_account_does_its_own_work_with_topics_and_nothing_else(stack: Stack, topic: str, account: Account) -> None:
    lake = stack.lake(account.name)
    assert {done for done in [*ALL, transacts] if may(lambda: done(lake, topic))} == WANTED[account.name]  # noqa: B023
    assert account.name == OPERATOR or not may(lambda: drops(lake, topic))


@each_account
def test_no_account_opens_the_brokers_own_topics(stack: Stack, account: Account) -> None:
    lake = stack.lake(account.name)
    for own in ("__consumer_offsets", "__transaction_state", "_schemas"):
        for attempt in (sees, writes):
            assert not may(lambda: attempt(lake, own)), own  # noqa: B023


def test_who_has_no_work_with_topics_is_unknown(stack: Stack) -> None:
    chosen = config.load(stack.state)
    assert chosen
    for account in set(ACCOUNTS) - set(AT_BROKER):
        user = {"kafka_user": account.name, "kafka_password": chosen.password(account.name)}
        told = asyncio.run(kafka_client.refusal(stack.lake().model_copy(update=user)))
        assert told, account.name
        assert "wrong password, or no such user" in told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kafka_password": "not-it"}, "refuses 'sluice': wrong password, or no such user. Check SLUICE_KAFKA_USER"),
        ({"kafka_user": "nobody"}, "refuses 'nobody': wrong password, or no such user"),
        ({"kafka_mechanism": "SCRAM-SHA-256"}, "does not offer SCRAM-SHA-256 here. Check SLUICE_KAFKA_MECHANISM"),
        ({"kafka_mechanism": "PLAIN"}, "refuses 'sluice': wrong password, or no such user"),
        ({"kafka_security_protocol": "PLAINTEXT"}, "may want a user, encryption, or both. Check SLUICE_KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_security_protocol": "SASL_SSL"}, "does not speak TLS"),
    ],
)  # fmt: skip
def test_who_is_not_let_in_is_told_why(stack: Stack, settings: dict[str, str], told: str) -> None:
    lake = stack.lake().model_copy(update=settings)

    async def connect() -> None:
        async with kafka_client.admin(lake):
            raise AssertionError("let in")

    with pytest.raises(kafka_client.RefusedError, match=told) as refused:
        asyncio.run(connect())
    assert lake.kafka_bootstrap in str(refused.value)


@pytest.mark.parametrize("command", [("apply", "--no-gold"), ("verify",)], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SLUICE_KAFKA_PASSWORD": "not-it"}, "refuses 'sluice': wrong password"),
        ({"SLUICE_KAFKA_PASSWORD": "", "SLUICE_KAFKA_USER": ""}, "set SLUICE_KAFKA_USER and SLUICE_KAFKA_PASSWORD"),
        ({"SLUICE_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, "SLUICE_KAFKA_USER=sluice would not be used by"),
    ],
    ids=["wrong", "none", "unused"],
)
def test_wrong_credentials_end_a_command_in_one_line(
    stack: Stack, command: tuple[str, ...], settings: dict[str, str], told: str
) -> None:
    done = replace(stack, settings={**stack.settings, **settings}).run(*command)
    assert done.returncode == {"apply": 1, "verify": 2}[command[0]]
    assert told in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert stack.lake().kafka_password not in done.stderr


def test_a_gateway_that_is_not_let_in_says_so_and_is_not_ready(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("refused")
    keys = Keys(folder / "keys.json")
    with running_gateway(stack, folder, keys, "unready", kafka_password="not-it") as gateway:
        refused = "refuses 'gateway': wrong password, or no such user"
        assert "not-it" not in eventually(lambda: told if refused in (told := str(gateway.ready())) else None, 30)


def test_no_log_holds_a_password(stack: Stack) -> None:
    chosen = config.load(stack.state)
    assert chosen
    passwords = {chosen.password(name) for name in (ADMINISTRATOR, *(account.name for account in ACCOUNTS))}
    logs = sorted((stack.state / "log").glob("*.log"))
    assert {"accounts", "gateway", "kafka", "stream", "verify"} <= {log.stem for log in logs}
    assert not [log.name for log in logs for password in passwords if password in log.read_text(errors="replace")]


def test_the_administrator_may_repeat_itself_and_takes_rights_back(stack: Stack, topic: str) -> None:
    chosen = config.load(stack.state)
    assert chosen
    administrator = as_administrator(chosen)
    passwords = {account.name: chosen.password(account.name) for account in AT_BROKER}

    async def open_more() -> None:
        client = kafka_client.client(administrator)
        await kafka_client.started(administrator, client.bootstrap)
        for rule in rules(Account("explorer", topics=("write",))):
            await client.send(client.get_random_node(), requests.create(rule))
        await client.close()

    asyncio.run(open_more())
    assert eventually(lambda: may(lambda: writes(stack.lake("explorer"), topic)), 20)
    make_users(stack.lake(), ADMINISTRATOR, chosen.password(ADMINISTRATOR), "PLAIN", passwords)
    assert eventually(lambda: not may(lambda: writes(stack.lake("explorer"), topic)), 20)
    assert may(lambda: writes(stack.lake("gateway"), topic))
