"""Disk to Kafka: one stream's segments, oldest first, each removed when all that it holds is acknowledged."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Protocol

import msgspec
import structlog

from ingest_gateway.delivery import NotAcknowledged
from ingest_gateway.keys import partitions
from ingest_gateway.metrics import SPOOL_DRAINED
from ingest_gateway.records import Records
from ingest_gateway.spool import segments
from ingest_gateway.spool.backlog import Backlog
from ingest_gateway.spool.entries import decode, encode
from ingest_gateway.spool.frames import Frame
from ingest_gateway.spool.pace import Rate
from ingest_gateway.spool.segments import Segment

CHUNK_BYTES = 256 << 10  # sent at a time; new traffic has its turn in between
AGAIN = 1.0  # seconds, after Kafka or the disk refused
LONGEST = 60.0  # seconds, where Kafka refuses for good
log = structlog.get_logger("sluice.gateway.spool")


class Kafka(Protocol):
    """Where the spool empties into."""

    async def reachable(self) -> None:
        """Wait until the broker answers."""

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 where there is no such topic."""

    async def write(self, topic: str, partitions: Sequence[int], records: Records) -> object:
        """Return after acknowledgement by all in-sync replicas. Raises NotAcknowledged."""


class Stuck(Exception):
    """The drain of a stream gets no further now, and says why."""


class Refused(Stuck):
    """Kafka refuses records for good, and would again: attempts become rare."""


class Drain:
    """Drains one stream for ever. A failure is tried again from the first frame that was not acknowledged."""

    def __init__(self, backlog: Backlog, topic: str, kafka: Kafka, rate: Rate, threads: Executor) -> None:
        self._backlog = backlog
        self._topic = topic
        self._kafka = kafka
        self._rate = rate
        self._threads = threads
        self._set_aside: set[bytes] = set()  # ids, of the chunk that is being sent: it may have to be sent again

    async def run(self) -> None:
        """Until it is cancelled. What is not acknowledged by then stays on disk."""
        pause = 0.0
        while True:
            await self._kafka.reachable()
            segment = await self._backlog.oldest()
            await self._kafka.reachable()
            self._backlog.gate.drain_begins()
            try:
                await self._send(segment)
                self._backlog.stuck, pause = None, 0.0
            except Exception as failure:
                if not isinstance(failure, Stuck | OSError):
                    log.exception("the spool cannot be drained", stream=self._backlog.stream)
                self._tell(str(failure) or type(failure).__name__)
                self._backlog.gate.drain_ends()
                pause = next_pause(pause, failure)
                await asyncio.sleep(pause)

    async def _send(self, segment: Segment) -> None:
        """Raises Stuck, and OSError where the file cannot be read or removed."""
        loop = asyncio.get_running_loop()
        pieces = segments.pieces(segment.path)
        done, damaged, unreadable = segment.sent, 0, False
        while (part := await loop.run_in_executor(self._threads, segments.next_part, pieces, CHUNK_BYTES)) is not None:
            damaged += part.damaged
            chunk = part.frames[done:]
            done -= len(part.frames) - len(chunk)
            if chunk:
                await self._rate.take(chunk[-1].end - chunk[0].start)
                unreadable |= not await self._send_chunk(segment, chunk)
        if damaged or unreadable:
            log.error("a part of a segment could not be read; the file is kept", path=str(segment.path),
                      stream=self._backlog.stream, bytes=damaged)  # fmt: skip
        await loop.run_in_executor(self._threads, segments.retire, segment.path, damaged > 0 or unreadable)
        self._backlog.drained(segment)

    async def _send_chunk(self, segment: Segment, chunk: Sequence[Frame]) -> bool:
        """Whether all of it could be read; what could is in Kafka then. Raises Stuck."""
        readable = [records for frame in chunk if (records := _records(frame)) is not None]
        count = await self._kafka.partitions(self._topic)
        if not count:
            raise Stuck(f"Kafka has no topic {self._topic}; `sluice apply` makes it from the contract")
        outcomes = await self._write(readable, count)
        if any(isinstance(outcome, NotAcknowledged) and outcome.final for outcome in outcomes):
            # Most likely the batch was too large for the topic, and its records are not.
            outcomes = await self._write_singly(readable, count)
        for outcome in outcomes:
            if isinstance(outcome, NotAcknowledged):
                raise Refused(str(outcome)) if outcome.final else Stuck(str(outcome))
            if isinstance(outcome, BaseException):
                raise outcome
        self._set_aside.clear()
        segment.sent += len(chunk)
        events = sum(frame.events for frame in chunk)
        segment.events -= events
        SPOOL_DRAINED.inc(events)
        self._backlog.gate.drained(chunk[-1].end - chunk[0].start)
        return len(readable) == len(chunk)

    async def _write(self, readable: Sequence[Records], count: int) -> Sequence[object]:
        """The outcome of each. The writes begin in this order, and within a partition none is written without those before."""
        return await asyncio.gather(
            *(self._kafka.write(self._topic, partitions(records.keys, count), records) for records in readable),
            return_exceptions=True,
        )

    async def _write_singly(self, readable: Sequence[Records], count: int) -> Sequence[object]:
        """One event after the other, up to the first that Kafka does not take now. One that it never will is set aside."""
        for records in readable:
            for single in _singles(records):
                [event_id] = single.ids
                if event_id in self._set_aside:
                    continue
                await self._kafka.reachable()
                [outcome] = await self._write([single], count)
                if isinstance(outcome, NotAcknowledged) and outcome.of_records:
                    await self._backlog.set_aside(1, encode(single))
                    self._set_aside.add(event_id)
                    log.error("a spooled event is set aside", stream=self._backlog.stream, reason=str(outcome))
                elif isinstance(outcome, BaseException):
                    return [outcome]
        return []

    def _tell(self, reason: str) -> None:
        if reason != self._backlog.stuck:
            log.warning("the spool does not drain", stream=self._backlog.stream, reason=reason)
        self._backlog.stuck = reason


def next_pause(before: float, failure: Exception) -> float:
    """Seconds until the next attempt, after one that waited `before`."""
    return min(LONGEST, max(AGAIN, 2 * before)) if isinstance(failure, Refused) else AGAIN


def _singles(records: Records) -> Iterator[Records]:
    for i in range(len(records.ids)):
        one = slice(i, i + 1)
        own = None if records.own_headers is None else records.own_headers[one]
        yield Records(
            records.keys[one], records.payloads[one], records.ids[one], records.headers, own, records.timestamp_ms
        )


def _records(frame: Frame) -> Records | None:
    try:
        return decode(frame.body).records()
    except msgspec.DecodeError:  # its checksum is right: another version of Sluice wrote it
        return None
