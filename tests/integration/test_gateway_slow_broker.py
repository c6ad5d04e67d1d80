"""The way to a real Kafka slow, narrow, one-way or cut while clients keep sending: what had a 202 is in the topic, in order."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.gateway import Gateway
from tests.ledger import Ledger, emptied, spooling
from tests.proxy import Proxy, running_proxy
from tests.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[Proxy]:
    with running_proxy(stack.env()["SLUICE_KAFKA_BOOTSTRAP"]) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(stack: Stack, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with spooling(stack, tmp_path_factory.mktemp("slow"), bootstrap=proxy.address) as running:
        yield running


def recovered(gateway: Gateway, ledger: Ledger) -> None:
    emptied(gateway)
    assert ledger.problems == set()
    ledger.check()


def test_a_slow_broker_makes_receipts_late_and_nothing_else(gateway: Gateway, proxy: Proxy) -> None:
    ledger = Ledger(gateway, gateway.stream("gw_slow"))

    async def run() -> None:
        async with ledger.sending():
            await ledger.gets(100)
            proxy.delay = 0.5
            await ledger.gets(200)
            proxy.delay = 0.0
            await ledger.gets_past_the_spool(100)

    asyncio.run(run())
    recovered(gateway, ledger)


def test_a_broker_slower_than_the_gateways_patience_is_as_one_that_is_away(gateway: Gateway, proxy: Proxy) -> None:
    """It writes everything and says so too late: what goes to the spool then is in the topic twice, with one id."""
    ledger = Ledger(gateway, gateway.stream("gw_slower"))

    async def run() -> None:
        async with ledger.sending():
            await ledger.gets(100)
            proxy.delay = 5.0
            await ledger.spools(300)
            proxy.delay = 0.0
            await ledger.gets_past_the_spool(100)

    asyncio.run(run())
    recovered(gateway, ledger)


def test_a_narrow_way_to_the_broker_loses_nothing(gateway: Gateway, proxy: Proxy) -> None:
    ledger = Ledger(gateway, gateway.stream("gw_narrow_way"))

    async def run() -> None:
        async with ledger.sending():
            await ledger.gets(100)
            proxy.rate = 20_000
            await ledger.gets(500)
            proxy.rate = None
            await ledger.gets_past_the_spool(100)

    asyncio.run(run())
    recovered(gateway, ledger)


def test_answers_that_are_lost_are_resolved_by_the_ids(gateway: Gateway, proxy: Proxy) -> None:
    """Kafka has what was sent, and the connection ends before it can say so."""
    ledger = Ledger(gateway, gateway.stream("gw_one_way"))

    async def run() -> None:
        async with ledger.sending():
            for _ in range(3):
                await ledger.gets_past_the_spool(60)
                proxy.deaf = True
                await ledger.spools(1)
                proxy.sever()
                proxy.deaf = False
            await ledger.gets_past_the_spool(60)

    asyncio.run(run())
    assert ledger.spooled
    recovered(gateway, ledger)


def test_connections_that_are_cut_again_and_again_lose_nothing(gateway: Gateway, proxy: Proxy) -> None:
    ledger = Ledger(gateway, gateway.stream("gw_cut"))

    async def run() -> None:
        async with ledger.sending():
            for _ in range(5):
                await ledger.gets_past_the_spool(60)
                proxy.sever()
            await ledger.gets_past_the_spool(60)

    asyncio.run(run())
    recovered(gateway, ledger)
