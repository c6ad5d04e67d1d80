"""A real Kafka paused, killed, restarted or full while clients keep sending: what had a 202 is in the topic, in order."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.gateway import Gateway
from tests.ledger import Ledger, emptied, paused, spooling, until
from tests.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture
def gateway(stack: Stack, tmp_path: Path) -> Iterator[Gateway]:
    with spooling(stack, tmp_path) as running:
        yield running


def test_a_paused_broker_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    stream = gateway.stream("gw_spool_paused")
    ledger = Ledger(gateway, stream)

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        await ledger.gets(300)
        with paused(stack):
            await until(lambda: len(ledger.spooled) > 1000)
            state = await asyncio.to_thread(gateway.ready)
            assert state["status"] == "degraded"
            assert state["spool"]["state"] == "holding"
            assert state["spool"]["streams"][stream]["events"] > 0
        await ledger.gets_past_the_spool(300)  # the spool ended under load
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.problems == set()
    ledger.check()
    metrics = gateway.metrics()
    drained = next(
        line for line in metrics.splitlines() if line.startswith("sluice_gateway_spool_drained_events_total")
    )
    assert float(drained.split()[1]) >= len(ledger.spooled)
    assert f'verdict="spooled"}} {len(ledger.spooled):.1f}' in metrics


def test_a_broker_that_stutters_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    """Pauses about as long as the gateway's patience: some batches are written, and told too late."""
    ledger = Ledger(gateway, gateway.stream("gw_spool_stutter"))

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        for length in (2.5, 3.0, 3.1, 3.5):
            await ledger.gets_past_the_spool(60)
            with paused(stack):
                await asyncio.sleep(length)  # it is the pause that is tested
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.problems == set()
    ledger.check()


def test_a_killed_broker_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    ledger = Ledger(gateway, gateway.stream("gw_spool_killed"))

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        for _ in range(2):
            await ledger.gets(300)
            pid = stack.pid("kafka")
            stack.kill("kafka", signal.SIGKILL)
            await asyncio.to_thread(stack.await_ready, "kafka", pid)
        await ledger.gets_past_the_spool(300)
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.spooled
    ledger.check()


def test_a_broker_whose_disk_is_full_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    """The system refuses to let its files grow (EFBIG), so Kafka gives its log up and ends; its supervisor starts it again."""
    stream = gateway.stream("gw_spool_kafka_disk")
    ledger = Ledger(gateway, stream)

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        await ledger.gets(300)
        pid = stack.pid("kafka")
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))
        await asyncio.to_thread(stack.await_ready, "kafka", pid)
        await ledger.gets_past_the_spool(300)
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.spooled
    ledger.check()


def test_a_restarted_broker_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    ledger = Ledger(gateway, gateway.stream("gw_spool_restarted"))

    async def run() -> None:
        async with ledger.sending():
            await ledger.gets(300)
            await asyncio.to_thread(stack.sluice, "restart", "kafka")
            await ledger.gets_past_the_spool(300)

    asyncio.run(run())
    emptied(gateway)
    assert ledger.problems == set()
    ledger.check()


@pytest.mark.parametrize("trouble", ["paused", "killed"])
def test_without_a_spool_a_broker_that_is_away_is_told(stack: Stack, tmp_path: Path, trouble: str) -> None:
    """503, and what was promised before is there. What had a 503 may be, too: the same ids are sent again."""
    with spooling(stack, tmp_path, spool="") as gateway:
        ledger = Ledger(gateway, gateway.stream(f"gw_bare_{trouble}"))

        async def run() -> None:
            async with ledger.sending():
                await ledger.gets(300)
                if trouble == "paused":
                    with paused(stack):
                        await until(lambda: "urn:sluice:problem:broker-away" in ledger.problems)
                else:
                    pid = stack.pid("kafka")
                    stack.kill("kafka", signal.SIGKILL)
                    await until(lambda: bool(ledger.problems))
                    await asyncio.to_thread(stack.await_ready, "kafka", pid)
                await ledger.gets(300)

        asyncio.run(run())
        assert ledger.problems <= {"urn:sluice:problem:broker-away", "urn:sluice:problem:not-acknowledged"}
        assert not ledger.spooled
        ledger.check()
