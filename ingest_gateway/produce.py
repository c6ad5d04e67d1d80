"""Events to Kafka: one record batch a partition at a time, filled with whatever has come meanwhile."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidMessageError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedForMessageFormatError,
)

from ingest_gateway.broker import Broker
from ingest_gateway.metrics import BATCHES, PRODUCE
from ingest_gateway.record_batch import RecordBatch
from ingest_gateway.records import Records

log = structlog.get_logger("sluice.gateway.produce")

_ACKNOWLEDGED = BATCHES.labels("acknowledged").inc
_FAILED = BATCHES.labels("failed").inc


# Kafka says that it has not written the batch, and would say so again.
FINAL = (
    ClusterAuthorizationFailedError, InvalidMessageError, InvalidTimestampError, InvalidTopicError, MessageSizeTooLargeError,
    PolicyViolationError, RecordListTooLargeError, RecordTooLargeError, TopicAuthorizationFailedError,
    UnsupportedForMessageFormatError,
)  # fmt: skip


# It is the batch itself, not the topic: one with fewer records may pass, and a single one never will.
OF_RECORDS = (
    InvalidMessageError, InvalidTimestampError, MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError,
    UnsupportedForMessageFormatError,
)  # fmt: skip


class NotAcknowledged(Exception):
    """The outcome is unknown or a failure: the events may be sent again, with the same ids.

    `final`: that would be in vain. `of_records`: because of these events, not of their topic.
    """

    def __init__(self, reason: str, final: bool = False, of_records: bool = False) -> None:
        super().__init__(reason)
        self.final = final
        self.of_records = of_records


@dataclass(slots=True)
class Delivery:
    """A request that waits. `offsets[i]` is record i's, or None where the broker had it already and no longer knows where.

    `done` is called once: after all were acknowledged, or with the reason why not. `over`: nobody waits any more.
    """

    offsets: list[int | None]
    outstanding: int
    done: Callable[[NotAcknowledged | None], None]
    over: bool = False

    def settle(self, count: int) -> None:
        """So many more records were acknowledged."""
        self.outstanding -= count
        if self.outstanding == 0 and not self.over:
            self.over = True
            self.done(None)

    def fail(self, reason: str, failure: BaseException | None = None) -> None:
        """One of the records was not, so the request is not."""
        if not self.over:
            self.over = True
            self.done(NotAcknowledged(reason, isinstance(failure, FINAL), isinstance(failure, OF_RECORDS)))


@dataclass(slots=True)
class _Chunk:
    """The records of a request that go to one partition: indices into its columns, from `next` on still to be sent."""

    records: Records
    indices: Sequence[int]
    delivery: Delivery
    next: int = 0


_ONLY = (0,)
_Part = tuple[_Chunk, int, int]  # what of a chunk is in a batch: its indices from, to


@dataclass(slots=True)
class _Queue:
    """What waits for a partition. `sender` runs while there is something."""

    topic: str
    partition: int
    waiting: deque[_Chunk] = field(default_factory=deque)
    sender: asyncio.Task[None] | None = None


class Producer:
    """Natural batching: a partition that is idle sends at once; one that is busy sends all that waits when it is back."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._broker = broker
        self._timeout = timeout
        self._queues: dict[tuple[str, int], _Queue] = {}
        broker.on_renew = self._fail_all

    async def write(self, topic: str, partitions: Sequence[int], records: Records) -> list[int | None]:
        """Write each record to its partition. Returns the offsets after all were acknowledged by all in-sync replicas.

        An offset is None where the broker had the record already and no longer knows where. Raises NotAcknowledged.
        """
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(failure: NotAcknowledged | None) -> None:
            if outcome.done():
                return
            if failure is None:
                outcome.set_result(None)
            else:
                outcome.set_exception(failure)

        delivery = self.enqueue(topic, partitions, records, done)
        try:
            await outcome
        finally:
            delivery.over = True  # what is not under way yet need not be sent for a client that is gone
        return delivery.offsets

    def enqueue(
        self,
        topic: str,
        partitions: Sequence[int],
        records: Records,
        done: Callable[[NotAcknowledged | None], None],
    ) -> Delivery:
        """As `write`, for who would rather be called than wait."""
        count = len(partitions)
        delivery = Delivery([None] * count, count, done)
        if count == 1:
            self._put(topic, partitions[0], _Chunk(records, _ONLY, delivery))
            return delivery
        by_partition: list[list[int]] = [[] for _ in range(max(partitions) + 1)]
        for index, partition in enumerate(partitions):
            by_partition[partition].append(index)
        for partition, indices in enumerate(by_partition):
            if indices:
                self._put(topic, partition, _Chunk(records, indices, delivery))
        return delivery

    def _put(self, topic: str, partition: int, chunk: _Chunk) -> None:
        queue = self._queues.get((topic, partition))
        if queue is None:
            queue = self._queues[topic, partition] = _Queue(topic, partition)
        queue.waiting.append(chunk)
        if queue.sender is None:
            queue.sender = asyncio.create_task(self._send(queue))

    def idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return all(queue.sender is None for queue in self._queues.values())

    async def _send(self, queue: _Queue) -> None:
        sent: list[_Part] = []
        try:
            while queue.waiting:
                producer = self._broker.producer
                if producer is None:
                    raise NotAcknowledged(self._broker.reason)
                batch = self._broker.batch()
                sent = _fill(batch, queue.waiting)
                if sent:
                    _settle(sent, await self._acknowledged(producer, batch, queue))
                    sent = []
        except asyncio.CancelledError:
            _fail_parts(sent, self._broker.reason)
            raise
        except Exception as failure:
            if not isinstance(failure, NotAcknowledged | KafkaError):
                log.exception("a record batch could not be sent", topic=queue.topic, partition=queue.partition)
            _FAILED()
            reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
            _fail_parts(sent, reason, failure)
            self._fail_waiting(queue, reason)
            self._broker.renew(reason)
        finally:
            if queue.sender is asyncio.current_task():
                queue.sender = None

    async def _acknowledged(self, producer: AIOKafkaProducer, batch: RecordBatch, queue: _Queue) -> int:
        """The batch's first offset, or -1 where the broker had it already. Raises NotAcknowledged or KafkaError."""
        started = time.perf_counter()
        outcome = await producer.send_batch(batch, queue.topic, partition=queue.partition)
        done, _ = await asyncio.wait((outcome,), timeout=self._timeout)
        if not done:
            # `outcome` only shields the batch: the producer would go on trying, and is given up.
            outcome.cancel()
            raise NotAcknowledged(f"Kafka did not acknowledge within {self._timeout:g} s")
        base: int = outcome.result().offset
        PRODUCE.observe(time.perf_counter() - started)
        _ACKNOWLEDGED()
        return base

    def _fail_all(self, reason: str) -> None:
        for queue in self._queues.values():
            self._fail_waiting(queue, reason)
            if queue.sender is not None and queue.sender is not asyncio.current_task():
                queue.sender.cancel()
                queue.sender = None

    def _fail_waiting(self, queue: _Queue, reason: str) -> None:
        while queue.waiting:
            queue.waiting.popleft().delivery.fail(reason)


def _fill(batch: RecordBatch, waiting: deque[_Chunk]) -> list[_Part]:
    """Move records from the queue into the batch until it is full. Returns what went in."""
    sent: list[_Part] = []
    while waiting:
        chunk = waiting[0]
        if chunk.delivery.over:  # has failed at another partition, or its client is gone
            waiting.popleft()
            continue
        start = chunk.next
        place = batch.add(chunk.records, chunk.indices, start)
        if place > start:
            sent.append((chunk, start, place))
        if place < len(chunk.indices):
            chunk.next = place
            break
        waiting.popleft()
    return sent


def _fail_parts(sent: list[_Part], reason: str, failure: BaseException | None = None) -> None:
    for chunk, _, _ in sent:
        chunk.delivery.fail(reason, failure)


def _settle(sent: list[_Part], base: int) -> None:
    """Tell each request where its records are: the batch's begin at offset `base`, in the order in which they went in."""
    offset = base
    for chunk, start, end in sent:
        if base >= 0:
            offsets = chunk.delivery.offsets
            for place in range(start, end):
                offsets[chunk.indices[place]] = offset
                offset += 1
        chunk.delivery.settle(end - start)
