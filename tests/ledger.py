"""Clients that keep sending whatever happens, with a ledger of what they were promised; and what happens to Kafka."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from tests.gateway import LINES, Gateway, reading, running_gateway
from tests.stack import Stack, eventually, patient

SENDERS = 6
GOOD = 5  # events of a request that are good; one more is not


class Ledger:
    """Clients, each with a key of its own, that send one request after the other, again until it is answered with a promise."""

    def __init__(self, gateway: Gateway, stream: str) -> None:
        self.acknowledged: set[str] = set()
        self.spooled: set[str] = set()
        self.refused: set[str] = set()
        self.problems: set[str] = set()
        self._gateway = gateway
        self._stream = stream

    async def run(self, until: Callable[[], bool]) -> None:
        async with httpx.AsyncClient(timeout=120) as client:
            await asyncio.gather(*(self._send(client, sender, until) for sender in range(SENDERS)))

    async def _send(self, client: httpx.AsyncClient, sender: int, until: Callable[[], bool]) -> None:
        address = f"{self._gateway.url}/v1/streams/{self._stream}/events"
        number = 0
        while not until():
            events = [reading(f"{sender}", number * GOOD + i) for i in range(GOOD)] + [b'{"sensor":"bad"}']
            headers = LINES | {"idempotency-key": f"{sender}:{number}"}
            try:
                answer = await client.post(address, content=b"\n".join(events), headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code != 207:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) >= 1
                self.problems.add(answer.json()["type"])
                await asyncio.sleep(0.05)
                continue
            number += 1
            for event in answer.json()["events"]:
                ids = self.refused if event["status"] == "refused" else self.acknowledged
                ids.add(event["id"])
                if event["status"] == "spooled":
                    self.spooled.add(event["id"])
                    assert set(event) == {"id", "status"}

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """The clients send meanwhile. A client that fails fails the test."""
        enough = asyncio.Event()
        sending = asyncio.create_task(self.run(enough.is_set))
        try:
            yield
        finally:
            enough.set()
            await sending

    async def gets(self, count: int) -> None:
        """Wait for so many events more that were acknowledged."""
        enough = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) > enough)

    async def gets_past_the_spool(self, count: int) -> None:
        """Wait for so many events more that went to Kafka at once."""
        enough = len(self.acknowledged - self.spooled) + count
        await until(lambda: len(self.acknowledged - self.spooled) > enough)

    async def spools(self, count: int) -> None:
        """Wait for so many events more that went to the spool."""
        enough = len(self.spooled) + count
        await until(lambda: len(self.spooled) >= enough)

    def check(self, ordered: bool = True) -> None:
        """All that was promised is in the topic, nothing that was refused is, and each key's events are in the order sent.

        That order is one worker's: a sender whose requests go to several has none (`ordered=False`).
        """
        records = self._gateway.records(self._stream)
        held = {r.headers["ce_id"].decode() for r in records}
        assert self.acknowledged
        assert self.acknowledged <= held
        assert self.refused
        assert not self.refused & held
        if not ordered:
            return
        for sender in range(SENDERS):
            values = [json.loads(r.value)["value"] for r in records if r.key == b"%d" % sender]
            first = list(dict.fromkeys(values))  # a repeat is dropped in silver
            assert first == sorted(first)


def emptied(gateway: Gateway) -> None:
    eventually(lambda: gateway.ready()["spool"]["state"] == "empty", 120, "the spool is empty")
    gateway.await_status("ready")


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    """Kafka, stopped in mid-word: it neither answers nor closes a connection."""
    pid = stack.pid("kafka")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def until(condition: Callable[[], bool], limit: float = 90) -> None:
    async with asyncio.timeout(patient(limit)):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


@contextmanager
def spooling(
    stack: Stack,
    folder: Path,
    status: str = "ready",
    wrap: Sequence[str] = (),
    bootstrap: str | None = None,
    **settings: str,
) -> Iterator[Gateway]:
    """A gateway with a spool in the folder; `spool=""` for one without."""
    contracts = folder / "contracts"
    contracts.mkdir(exist_ok=True)
    chosen = {"spool": str(folder / "spool"), "produce_timeout": "3", **settings}
    with running_gateway(stack, contracts, None, status, wrap, bootstrap, **chosen) as running:
        yield running
