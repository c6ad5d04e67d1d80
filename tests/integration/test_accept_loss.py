"""Kafka loses records before bronze had them: the stream is set aside, and goes on once a person has given them up.

And offsets that never hold a record for a reader: markers of transactions and transactions that were given up are no loss."""

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from catalog import kafka_client, query
from catalog.apply import apply
from catalog.kafka_offsets import topic_bounds
from catalog.odcs import load_contract
from catalog.settings import LakeSettings
from infra.native import config
from infra.native.kafka import as_administrator
from tests.drivers import Own, reason
from tests.stack import WAIT, Stack, eventually, patient
from tests.streams import CONTRACT, add_stream

pytestmark = pytest.mark.stack
BODY = {"item": "a", "quantity": 1, "at": "2026-01-01T00:00:00Z"}


async def produce(lake: LakeSettings, topic: str, ids: list[str], *, transaction: str | None = None) -> None:
    """Into partition 0, past the gateway: in a transaction that is committed, or given up if its name ends in `abort`.

    No account of Sluice's may begin one; `lake` is the administrator's then."""
    async with kafka_client.producer(lake, acks="all", transactional_id=transaction) as producer:
        if transaction:
            await producer.begin_transaction()
        for each in ids:
            headers = [("ce_id", each.encode())]
            sent = await producer.send_and_wait(topic, orjson.dumps(BODY), partition=0, headers=headers)
        if transaction:
            await (producer.abort_transaction() if transaction.endswith("abort") else producer.commit_transaction())
            await marked(lake, topic, sent.offset + 1)


async def marked(lake: LakeSettings, topic: str, offset: int) -> None:
    """Until a transaction's marker is at this offset: the coordinator writes it after it has answered."""
    async with asyncio.timeout(patient(60)):
        while (await topic_bounds(lake, [topic]))[topic][0][1] <= offset:  # noqa: ASYNC110 - the condition is Kafka's
            await asyncio.sleep(0.1)


async def forget(lake: LakeSettings, topic: str, before: int) -> None:
    """What retention does."""
    async with kafka_client.admin(lake) as admin:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})


@pytest.fixture
def name(contracts: Path) -> Iterator[str]:
    made = f"loss_{uuid.uuid4().hex[:8]}"
    yield made
    for path in contracts.glob(f"{made}.odcs.yaml"):
        path.unlink()


def test_a_loss_is_accepted_on_purpose_and_the_running_job_goes_on(
    name: str, stack: Stack, contracts: Path, lake: LakeSettings, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.odcs.yaml"  # where the stream job does not see it yet
    path.write_text(CONTRACT.format(name=name))
    apply(lake, {name: load_contract(path)})
    asyncio.run(produce(lake, name, [f"{name}-{n}" for n in range(12)]))
    asyncio.run(forget(lake, name, 5))
    shutil.copy(path, contracts)

    eventually(
        lambda: f"--accept-loss {name}:0:0-4" in reason(Own(stack)), 90, "the stream is set aside with its offsets"
    )
    for wrong, words in (("0:0-5", "that is not the gap"), ("1:0-4", "nothing is lost"), ("0:x", "is not STREAM")):
        done = stack.run("stream", "--accept-loss", f"{name}:{wrong}", "--reason", "test", "--yes")
        assert done.returncode == 1
        assert words in done.stderr
    assert "--yes" in stack.run("stream", "--accept-loss", f"{name}:0:0-4", "--reason", "test").stderr
    assert "--reason" in stack.run("stream", "--accept-loss", f"{name}:0:0-4", "--yes").stderr
    assert f"--accept-loss {name}:0:0-4" in stack.sluice("stream")
    stack.sluice("stream", "--accept-loss", f"{name}:0:0-4", "--reason", "a test", "--by", "tester", "--yes")
    for options in ([], ["--deep"]):
        report = json.loads(stack.sluice("verify", "--json", "--wait", WAIT, "--stream", name, *options))[0]
        assert (report["accepted_losses"], report["totals"]["silver"]) == (5, 7)
    rows = query.rows(
        lake, f"select partition, from_offset, to_offset, reason, \"by\" from ops.losses where stream = '{name}'"
    )
    assert rows == [{"partition": 0, "from_offset": 0, "to_offset": 5, "reason": "a test", "by": "tester"}]
    again = stack.run("stream", "--accept-loss", f"{name}:0:0-4", "--reason", "a test", "--yes")
    assert "nothing is lost there" in again.stderr
    asyncio.run(produce(lake, name, [f"{name}-{n}" for n in range(10, 14)]))  # two repeats, two new ones
    report = json.loads(stack.sluice("verify", "--deep", "--json", "--wait", WAIT, "--stream", name))[0]
    assert (report["totals"]["silver"], report["totals"]["duplicates"]) == (9, 2)


def test_offsets_without_a_record_are_void_and_no_loss(
    name: str, stack: Stack, contracts: Path, lake: LakeSettings
) -> None:
    add_stream(stack, contracts, name)

    async def transactions() -> None:
        await produce(administrator, name, ["a", "b"], transaction=f"{name}-1")
        await produce(administrator, name, ["c"], transaction=f"{name}-abort")
        await produce(lake, name, ["d"])
        await produce(administrator, name, ["e"], transaction=f"{name}-2")

    chosen = config.load(stack.state)
    assert chosen
    administrator = as_administrator(chosen)
    asyncio.run(transactions())  # a b | c | d e |: the marks and c are void, the last offset is a mark
    for options in ([], ["--deep"]):
        report = json.loads(stack.sluice("verify", "--json", "--wait", WAIT, "--stream", name, *options))[0]
        assert (report["totals"]["silver"], report["void_offsets"]) == (4, 3)
    ids = query.rows(lake, f"select _event_id from silver.{name} order by 1")
    assert [row["_event_id"] for row in ids] == ["a", "b", "d", "e"]
    end = asyncio.run(topic_bounds(lake, [name]))[name][0][1]
    asyncio.run(forget(lake, name, end - 2))  # Kafka forgets the void offsets, the ledger does not
    stack.sluice("verify", "--wait", WAIT, "--stream", name)
    stack.sluice("verify", "--deep", "--wait", WAIT, "--stream", name)
