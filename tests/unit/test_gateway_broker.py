"""The connection to Kafka ends when it is told to."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from catalog.settings import LakeSettings
from ingest_gateway import broker as broker_module
from ingest_gateway.broker import Broker
from ingest_gateway.settings import GatewaySettings
from tests.stack import patient

AWAY = LakeSettings.model_validate({"kafka_bootstrap": "127.0.0.1:1"})


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
        broker = _Deaf(AWAY, GatewaySettings())
        broker.start()
        await asyncio.sleep(0)
        assert await ends(broker.stop())
        assert broker.lost

    asyncio.run(run())


def test_a_stop_ends_while_kafka_is_away() -> None:
    async def run() -> None:
        broker = Broker(AWAY, GatewaySettings())
        broker.start()
        await asyncio.sleep(0)
        assert await ends(broker.stop())

    asyncio.run(run())


def test_a_topic_that_kafka_named_a_moment_ago_is_hardly_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        """Names a topic once, and then leaves it out, as Kafka does while its leader changes."""

        looks = 0

        async def refresh(self) -> bool:
            self.looks += 1
            return True

        def topics(self) -> set[str]:
            return {"a"} if self.looks == 1 else set()

    async def run() -> None:
        monkeypatch.setattr(broker_module, "PROBE", 0.001)
        broker, session = Broker(AWAY, GatewaySettings()), Named()
        watch = asyncio.create_task(broker._watch(session))  # type: ignore[arg-type]
        while session.looks < 3:  # noqa: ASYNC110 - the looks are another task's
            await asyncio.sleep(0.001)
        assert (broker.had("a"), broker.had("b")) == (True, False)
        monkeypatch.setattr(broker_module, "MISSED", 0.0)
        assert not broker.had("a")
        watch.cancel()

    asyncio.run(run())
