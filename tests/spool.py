"""A spool for tests, with a broker that can be told to be away, to refuse, or to take its time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest_gateway.records import Records
from ingest_gateway.spool import drain, spool
from ingest_gateway.spool.segments import SUFFIX
from ingest_gateway.spool.spool import Spool
from tests.stack import patient

LIMIT = 1 << 20


class ToldKafka:
    """Keeps what is written. `up` lets writes through, `failures` are raised first, one for each write."""

    def __init__(self, up: bool = False, count: int = 3) -> None:
        self.up = asyncio.Event()
        if up:
            self.up.set()
        self.count = count
        self.written: list[tuple[str, bytes, bytes]] = []  # topic, key, payload
        self.failures: list[Exception] = []
        self.slowness = 0.0

    async def reachable(self) -> None:
        await self.up.wait()

    async def partitions(self, topic: str) -> int:
        return self.count

    async def write(self, topic: str, partitions: Sequence[int], records: Records) -> object:
        if self.failures:
            raise self.failures.pop(0)
        assert len(partitions) == len(records.ids)
        self.written += [(topic, key, payload) for key, payload in zip(records.keys, records.payloads, strict=True)]
        await asyncio.sleep(self.slowness)
        return None

    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload in self.written]


def event(key: str, payload: bytes) -> Records:
    return Records([key.encode()], [payload], [b"id-" + payload[:50]], [("ce_type", b"t")], None, 1_700_000_000_000)


@asynccontextmanager
async def spool_at(root: Path, kafka: ToldKafka, limit: int = LIMIT) -> AsyncIterator[Spool]:
    made = Spool(root, limit, 1 << 30, 5.0, kafka)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool], limit: float = 20) -> None:
    async with asyncio.timeout(patient(limit)):
        while not condition():  # noqa: ASYNC110 - the condition is other tasks' work
            await asyncio.sleep(0.005)


def files(root: Path) -> list[Path]:
    return sorted(root.rglob(f"*{SUFFIX}*"))


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Pauses that are there to spare a broker are short."""
    patch.setattr(drain, "AGAIN", 0.05)
    patch.setattr(spool, "LOOK_AROUND", 0.05)
