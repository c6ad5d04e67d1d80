"""The connection to Kafka ends when it is told to."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ingest_gateway.broker import Broker
from ingest_gateway.settings import GatewaySettings
from tests.stack import patient


async def ends(work: Coroutine[Any, Any, None]) -> bool:
    """Whether it ends by itself."""
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait((task,), timeout=patient(10))
    return bool(done)


class _Deaf(Broker):
    """One whose task loses the first cancellation, as code of Python 3.11's standard library does now and then."""

    lost = False

    async def _run(self) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.lost = True
        await asyncio.sleep(3600)


def test_a_stop_ends_although_a_cancellation_is_lost() -> None:
    async def run() -> None:
        broker = _Deaf("127.0.0.1:1", GatewaySettings())
        broker.start()
        await asyncio.sleep(0)
        assert await ends(broker.stop())
        assert broker.lost

    asyncio.run(run())


def test_a_stop_ends_while_kafka_is_away() -> None:
    async def run() -> None:
        broker = Broker("127.0.0.1:1", GatewaySettings())
        broker.start()
        await asyncio.sleep(0)
        assert await ends(broker.stop())

    asyncio.run(run())
