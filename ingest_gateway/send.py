"""Records → batches → gateway → verdicts, with a few batches in flight. What `sluice send` and the demo run."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from catalog.errors import SluiceError
from ingest_gateway.client import AsyncClient, Event, Fault, Verdict
from ingest_gateway.fingerprints import Fingerprints
from ingest_gateway.ids import MAX_ID, is_event_id
from ingest_gateway.readers import Record, is_json

MAX_BATCH_BYTES = 2 << 20  # of payloads, so that a batch stays well below what a gateway takes
Identify = Callable[[bytes], str]


@dataclass(frozen=True)
class Refusal:
    """A record that is not in the lake, and why. `id` is empty where it never was sent."""

    record: Record
    id: str
    faults: tuple[Fault, ...]

    def line(self) -> bytes:
        """One NDJSON line: position, id, errors and the record (as text where it is no JSON)."""
        facts = {"position": self.record.position, "id": self.id or None,
                 "errors": [{"pointer": f.pointer, "message": f.message} for f in self.faults]}  # fmt: skip
        if is_json(self.record.payload):
            return orjson.dumps(facts | {"record": orjson.Fragment(self.record.payload)}) + b"\n"
        return orjson.dumps(facts | {"text": self.record.payload.decode("utf-8", "replace")}) + b"\n"


@dataclass
class Tally:
    """Counts so far. `stopped` says why sending ended early; nothing that was not counted as taken is promised.

    `unreadable`: it was the file that could not be read to its end.
    """

    read: int = 0
    accepted: int = 0
    spooled: int = 0
    refused: int = 0
    stopped: str | None = None
    unreadable: bool = False
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def taken(self) -> int:
        """Records that the gateway promised to keep."""
        return self.accepted + self.spooled

    @property
    def rate(self) -> float:
        """Records taken a second."""
        return self.taken / self.seconds if self.seconds else 0.0


def from_member(pointer: tuple[str | int, ...]) -> Identify:
    """Event ids that the payload itself holds. The function raises ValueError where it does not."""

    def identify(payload: bytes) -> str:
        value = orjson.loads(payload)
        for step in pointer:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                value = None
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ValueError("has no text or whole number at the place that --id-from names")
        if not is_event_id(str(value)):
            raise ValueError(f"has an id that is longer than {MAX_ID} characters or holds control characters")
        return str(value)

    return identify


async def deliver(
    records: Iterator[Record],
    client: AsyncClient,
    identify: Identify,
    *,
    batch: int = 500,
    in_flight: int = 4,
    on_progress: Callable[[Tally], None] = lambda tally: None,
    on_refusal: Callable[[Refusal], None] = lambda refusal: None,
) -> Tally:
    """Send all records; at most `in_flight` batches are read ahead. Verdicts are reported in the records' order.

    Never raises SluiceError: where the records can't be read to the end, the gateway stays away or refuses whole requests, the
    tally's `stopped` says so, beside what was acknowledged until then.
    """
    tally = Tally()
    flying: deque[_Flying] = deque()
    try:
        # Reading may wait (standard input) and takes time (CSV), so it has a thread and requests go on meanwhile.
        while tally.stopped is None and (chunk := await asyncio.to_thread(_chunk, records, batch, tally)):
            tally.read += len(chunk)
            good, events = _identified(chunk, identify, tally, on_refusal)
            flying.append(_Flying(good, events, asyncio.create_task(client.send(events))))
            while len(flying) >= in_flight:
                await flying[0].landed(tally, on_refusal)
                flying.popleft()
                on_progress(tally)
        while flying:
            await flying[0].landed(tally, on_refusal)
            flying.popleft()
            on_progress(tally)
    except SluiceError as failure:
        tally.stopped = str(failure)
        for flight in list(flying)[1:]:
            if flight.acknowledged:
                await flight.landed(tally, on_refusal)
    finally:
        for flight in flying:
            flight.task.cancel()
        await asyncio.gather(*(flight.task for flight in flying), return_exceptions=True)
        tally.seconds = time.monotonic() - tally.started
        on_progress(tally)
    return tally


@dataclass
class _Flying:
    """A batch that was sent and not answered yet."""

    records: list[Record]
    events: list[Event]
    task: asyncio.Task[list[Verdict]]

    @property
    def acknowledged(self) -> bool:
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None

    async def landed(self, tally: Tally, on_refusal: Callable[[Refusal], None]) -> None:
        """Wait for the verdicts and count them."""
        verdicts = await self.task
        for record, event, verdict in zip(self.records, self.events, verdicts, strict=True):
            if verdict.status == "accepted":
                tally.accepted += 1
            elif verdict.status == "spooled":
                tally.spooled += 1
            else:
                tally.refused += 1
                on_refusal(Refusal(record, event.id, verdict.errors))
        tally.seconds = time.monotonic() - tally.started


def identifier(stream: str) -> Identify:
    """Ids by content, for one file from its beginning; see Fingerprints."""
    return Fingerprints(stream)


def _chunk(records: Iterator[Record], most: int, tally: Tally) -> list[Record]:
    chunk: list[Record] = []
    size = 0
    try:
        for record in records:
            chunk.append(record)
            size += len(record.payload)
            if len(chunk) >= most or size >= MAX_BATCH_BYTES:
                break
    except SluiceError as failure:
        tally.stopped, tally.unreadable = str(failure), True  # what was read before is good, and is sent
    return chunk


def _identified(
    chunk: Sequence[Record], identify: Identify, tally: Tally, on_refusal: Callable[[Refusal], None]
) -> tuple[list[Record], list[Event]]:
    good: list[Record] = []
    events: list[Event] = []
    for record in chunk:
        fault = record.fault
        if fault is None:
            try:
                events.append(Event(identify(record.payload), record.payload))
                good.append(record)
                continue
            except ValueError as failure:
                fault = str(failure)
        tally.refused += 1
        on_refusal(Refusal(record, "", (Fault("", fault),)))
    return good, events
