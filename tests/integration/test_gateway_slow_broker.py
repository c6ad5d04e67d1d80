"""The way to a real Kafka slow, narrow, one-way or cut while clients keep sending: what had a 202 is in the topic, in order."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.gateway import SLOWEST, Gateway, reading, running_gateway
from tests.ledger import Ledger, emptied, spooling
from tests.proxy import Proxy, running_proxy
from tests.stack import Stack, eventually

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


def test_who_finds_no_room_within_a_moment_is_refused_and_those_under_way_are_not(
    stack: Stack, proxy: Proxy, tmp_path: Path
) -> None:
    with (
        running_gateway(stack, tmp_path, bootstrap=proxy.address, max_in_flight_requests="1") as gateway,
        ThreadPoolExecutor(1) as beside,
    ):
        stream = gateway.stream("gw_no_room")
        gateway.post(stream, reading("a", 0), {"idempotency-key": "before"})
        proxy.delay = 2.0
        try:
            first = beside.submit(gateway.post, stream, reading("a", 1), {"idempotency-key": "first"})
            eventually(lambda: gateway.metric("sluice_gateway_in_flight_requests") == 1, 20, "one is under way")
            second = gateway.post(stream, reading("a", 2), {"idempotency-key": "second"})
        finally:
            proxy.delay = 0.0
        assert (second.status_code, second.json()["type"]) == (503, "urn:sluice:problem:overloaded")
        assert int(second.headers["retry-after"]) >= 1
        assert first.result().status_code == 202
        assert sorted(record.headers["ce_id"] for record in gateway.records(stream)) == [b"before", b"first"]


def test_a_crowd_that_finds_no_room_at_once_is_taken_in_turn_or_refused_and_told_the_truth(
    stack: Stack, tmp_path: Path
) -> None:
    ids = [f"c-{number}" for number in range(60)]

    async def crowd(gateway: Gateway, stream: str) -> dict[str, httpx.Response]:
        async with httpx.AsyncClient(timeout=SLOWEST, limits=httpx.Limits(max_connections=len(ids))) as client:
            address = f"{gateway.url}/v1/streams/{stream}/events"
            kind = {"content-type": "application/json"}
            asked = [
                client.post(address, content=reading(name, 1), headers={**kind, "idempotency-key": name})
                for name in ids
            ]  # fmt: skip
            return dict(zip(ids, await asyncio.gather(*asked), strict=True))

    with running_gateway(stack, tmp_path, max_in_flight_requests="2") as gateway:
        stream = gateway.stream("gw_crowd")
        answers = asyncio.run(crowd(gateway, stream))
        taken = {name for name, answer in answers.items() if answer.status_code == 202}
        others = {(answers[name].status_code, answers[name].json()["type"]) for name in ids if name not in taken}
        assert len(taken) >= 2
        assert others <= {(503, "urn:sluice:problem:overloaded")}
        assert sorted(record.headers["ce_id"].decode() for record in gateway.records(stream)) == sorted(taken)
        held = ("sluice_gateway_in_flight_bytes", "sluice_gateway_in_flight_requests")
        eventually(lambda: [gateway.metric(name) for name in held] == [0, 0], 20, "nothing is held")
