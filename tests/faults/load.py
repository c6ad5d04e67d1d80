"""Senders, and what they were told of each event."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import orjson

from catalog.errors import SluiceError
from catalog.odcs import load_contracts
from catalog.settings import BUNDLED_CONTRACTS
from infra.bench.events import Source
from infra.demo.sets import demo_sets
from ingest_gateway.client import Client, Event, Retry

START = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 40
PAUSE = 0.2
ENTITIES = 300


@dataclass
class Ledger:
    """The ids of one stream by what the gateway said. An id that it never spoke of is unknown: it may have been taken."""

    tried: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    @property
    def unknown(self) -> set[str]:
        return self.tried - self.acknowledged - self.refused


class Sender:
    """Sends to one stream until it is told to stop. An event's id tells the run, the stream and the event's place in it."""

    def __init__(self, url: str, stream: str, run: str, random: Random, demo: Source | None = None) -> None:
        self._url = url
        self._random = random
        self._prefix = f"{run}-{stream}-"
        self._stream = stream
        self._demo = demo
        self._sent: list[Event] = []
        self.ledger = Ledger()
        self.over = threading.Event()

    def run(self) -> None:
        """A batch each PAUSE seconds. What is not acknowledged within seconds is given up, and may be sent again later."""
        with Client(self._url, self._stream, timeout=5, retry=Retry(patience=3, first=0.1, longest=1)) as client:
            while not self.over.wait(PAUSE):
                events = [self._event() for _ in range(BATCH)]
                self.ledger.tried |= {event.id for event in events}
                try:
                    verdicts = client.send(events)
                except SluiceError:
                    continue
                for verdict in verdicts:
                    (self.ledger.acknowledged if verdict.taken else self.ledger.refused).add(verdict.id)

    def _event(self) -> Event:
        """Mostly a new one; one in twenty was sent before, with the same id."""
        if self._sent and self._random.random() < 0.05:
            return self._random.choice(self._sent[-2_000:])
        n = len(self._sent)
        payload = payload_of(self._demo) if self._demo else orjson.dumps(body(n, self._random.random()))
        event = Event(f"{self._prefix}{n:07}", payload)
        self._sent.append(event)
        return event


def body(n: int, chance: float) -> Mapping[str, object]:
    """One in fifty is malformed, one in twenty breaks a rule, one in ten comes years late."""
    quantity: object = "many" if chance < 0.02 else 5_000 if chance < 0.07 else n % 1_000
    at = START + timedelta(seconds=n) - (timedelta(days=2_000) if 0.1 < chance < 0.2 else timedelta())
    return {"item": f"item-{n % ENTITIES}", "quantity": quantity, "at": at.isoformat()}


def demo_of(stream: str) -> Source:
    """Records of one of the demo's streams, which gold is made of."""
    return next(
        Source(one, "demo") for one in demo_sets(load_contracts(BUNDLED_CONTRACTS)) if one.stream.name == stream
    )


def payload_of(demo: Source) -> bytes:
    """The next record's."""
    (event,) = demo.take(1)
    return event.payload


@contextmanager
def sending(
    url: str, streams: list[str], demos: Mapping[str, Source], run: str, random: Random
) -> Iterator[dict[str, Ledger]]:
    """A sender for each stream, until the end of the block; those in `demos` send such records."""
    senders = {stream: Sender(url, stream, run, Random(random.random()), demos.get(stream)) for stream in streams}
    threads = [threading.Thread(target=sender.run, name=f"sender of {stream}") for stream, sender in senders.items()]
    for thread in threads:
        thread.start()
    try:
        yield {stream: sender.ledger for stream, sender in senders.items()}
    finally:
        for sender in senders.values():
            sender.over.set()
        for thread in threads:
            thread.join()
