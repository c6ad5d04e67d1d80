"""Events to Kafka: one request a broker at a time, filled with whatever has come meanwhile."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka.errors import DuplicateSequenceNumber, KafkaError, NoError, for_code

from catalog.errors import first_line
from ingest_gateway.broker import Broker
from ingest_gateway.delivery import FINAL, Chunk, Delivery, NotAcknowledged, Part, filled, settle
from ingest_gateway.metrics import BATCHES, PRODUCE
from ingest_gateway.records import Records
from ingest_gateway.session import RETRY, Place, Session

log = structlog.get_logger("sluice.gateway.produce")

MOST_BYTES = 8 << 20  # of a request, before its last batch; brokers take 100 MiB

_ONLY = (0,)
_ACKNOWLEDGED = BATCHES.labels("acknowledged").inc
_FAILED = BATCHES.labels("failed").inc


@dataclass(eq=False, slots=True)
class _Queue:
    """A partition's records: what waits, and the batch that is under way or to be sent again, with its parts."""

    place: Place
    waiting: deque[Chunk] = field(default_factory=deque)
    batch: bytearray = field(default_factory=bytearray)
    sendings: int = 0
    parts: list[Part] = field(default_factory=list)
    since: float = 0.0  # when the batch was made, or the search for a leader began


class Producer:
    """Natural batching: a broker that is idle is sent what comes at once; to one that is busy goes all that waits when it is back.

    Idempotent, acks=all. A batch that Kafka did not take is sent again with the same sequence number, until `timeout`.
    """

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._broker = broker
        self._timeout = timeout
        self._queues: dict[Place, _Queue] = {}
        self._ready: dict[_Queue, None] = {}  # those with something to send and nothing under way, the oldest first
        self._lanes: dict[int | None, asyncio.Task[None]] = {}  # by node, while there is something for it
        self._dispatching = False
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
            self._put(topic, partitions[0], Chunk(records, _ONLY, delivery))
            return delivery
        by_partition: list[list[int]] = [[] for _ in range(max(partitions) + 1)]
        for index, partition in enumerate(partitions):
            by_partition[partition].append(index)
        for partition, indices in enumerate(by_partition):
            if indices:
                self._put(topic, partition, Chunk(records, indices, delivery))
        return delivery

    def _put(self, topic: str, partition: int, chunk: Chunk) -> None:
        place = (topic, partition)
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = _Queue(place)
        queue.waiting.append(chunk)
        if not queue.batch:
            self._make_ready(queue)

    def idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return not any(queue.waiting or queue.batch for queue in self._queues.values())

    def _make_ready(self, queue: _Queue) -> None:
        self._ready[queue] = None
        if not self._dispatching:
            # Behind whatever else has come by now, so that it goes out together.
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        session = self._broker.session
        if session is None:
            self._fail_all(self._broker.reason)
            return
        for node in {session.leader(queue.place) for queue in self._ready} - self._lanes.keys():
            self._lanes[node] = asyncio.create_task(self._lane(session, node))

    async def _lane(self, session: Session, node: int | None) -> None:
        """One request after the other to a node, while there is something for it."""
        flight: dict[Place, _Queue] = {}
        try:
            if node is None:
                await self._find_leaders(session)
            else:
                while flight := self._flight(session, node):
                    await self._send(session, node, flight)
        except Exception as failure:
            if not isinstance(failure, NotAcknowledged | KafkaError):
                log.exception("record batches could not be sent", node=node)
            reason = first_line(failure)
            for queue in flight.values():
                self._refused(queue, reason, failure)
            self._fail_all(reason)
            self._broker.renew(reason)
        finally:
            if self._lanes.get(node) is asyncio.current_task():
                del self._lanes[node]
        for queue in list(self._ready):  # whose leader changed meanwhile
            self._make_ready(queue)

    def _flight(self, session: Session, node: int) -> dict[Place, _Queue]:
        """What goes to a node in one request, no longer among what is ready."""
        taken: dict[Place, _Queue] = {}
        size = 0
        for queue in list(self._ready):
            if session.leader(queue.place) != node:
                continue
            del self._ready[queue]
            if queue.batch or self._make_batch(session, queue):
                taken[queue.place] = queue
                size += len(queue.batch)
                if size > MOST_BYTES:
                    break
        return taken

    def _make_batch(self, session: Session, queue: _Queue) -> bool:
        """Whether anybody still waits for any of its records."""
        batch = self._broker.batch()
        queue.parts = filled(batch, queue.waiting)
        if queue.parts:
            queue.batch = batch.encode(*session.state(queue.place))
            queue.since, queue.sendings = asyncio.get_running_loop().time(), 0
        return bool(queue.parts)

    async def _send(self, session: Session, node: int, flight: dict[Place, _Queue]) -> None:
        """Send a request and see to the answer, which takes its batches out of `flight`. Raises NotAcknowledged or KafkaError."""
        started = time.perf_counter()
        for queue in flight.values():
            queue.sendings += 1
        try:
            async with asyncio.timeout_at(min(queue.since for queue in flight.values()) + self._timeout):
                answers = await session.produce(node, {place: queue.batch for place, queue in flight.items()})
        except TimeoutError:
            raise self._too_late() from None
        except KafkaError as failure:
            if not failure.retriable:
                raise
            for place in list(flight):
                self._send_again(flight[place])
                del flight[place]
            return
        PRODUCE.observe(time.perf_counter() - started)
        for place, code, offset in answers:
            if place in flight:
                self._answered(session, flight[place], code, offset)
                del flight[place]
        if flight:
            raise NotAcknowledged("Kafka's answer leaves out a batch")

    def _answered(self, session: Session, queue: _Queue, code: int, offset: int) -> None:
        """Raises NotAcknowledged or KafkaError where the session is of no more use."""
        error = for_code(code)
        if error in (NoError, DuplicateSequenceNumber):
            parts, queue.parts, queue.batch = queue.parts, [], bytearray()
            session.advance(queue.place, sum(end - start for _, start, end in parts))
            if queue.waiting:
                self._make_ready(queue)
            _ACKNOWLEDGED()
            settle(parts, offset if error is NoError else -1)
        elif issubclass(error, FINAL) and queue.sendings == 1:
            # Kafka has not written it, so the next batch has the same sequence number. Of one that was sent before
            # nobody knows: another under its number could pass for a resend of it, and be lost.
            failure = error()
            self._refused(queue, str(failure), failure)
            if queue.waiting:
                self._make_ready(queue)
        elif error.retriable and not issubclass(error, FINAL):
            if error.invalid_metadata:
                session.mistrust()
            self._send_again(queue)
        else:
            raise error()

    def _send_again(self, queue: _Queue) -> None:
        """In a moment, unless that is too late. Raises NotAcknowledged."""
        loop = asyncio.get_running_loop()
        if loop.time() + RETRY > queue.since + self._timeout:
            raise self._too_late()
        loop.call_later(RETRY, self._retry, queue, queue.batch)

    def _retry(self, queue: _Queue, batch: bytearray) -> None:
        if queue.batch is batch:  # has not failed meanwhile
            self._make_ready(queue)

    async def _find_leaders(self, session: Session) -> None:
        """Ask about partitions that have no leader now. Raises NotAcknowledged where one that was sent to has none for too long."""
        now = asyncio.get_running_loop().time()
        for queue in list(self._ready):
            if session.leader(queue.place) is not None:
                continue
            if not queue.batch and not self._make_batch(session, queue):
                del self._ready[queue]
            elif queue.since + self._timeout < now:
                if queue.sendings:
                    raise self._too_late()
                self._fail(queue, "Kafka has no leader for {}, partition {}".format(*queue.place))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await session.refresh()
        await asyncio.sleep(RETRY)

    def _too_late(self) -> NotAcknowledged:
        return NotAcknowledged(f"Kafka did not acknowledge within {self._timeout:g} s")

    def _refused(self, queue: _Queue, reason: str, failure: BaseException | None = None) -> None:
        """The batch under way is given up."""
        parts, queue.parts, queue.batch = queue.parts, [], bytearray()
        if parts:
            _FAILED()
        for chunk, _, _ in parts:
            chunk.delivery.fail(reason, failure)

    def _fail_all(self, reason: str) -> None:
        for node, lane in list(self._lanes.items()):
            if lane is not asyncio.current_task():
                lane.cancel()
                del self._lanes[node]
        self._ready.clear()
        for queue in self._queues.values():
            self._fail(queue, reason)

    def _fail(self, queue: _Queue, reason: str) -> None:
        self._ready.pop(queue, None)
        self._refused(queue, reason)
        while queue.waiting:
            queue.waiting.popleft().delivery.fail(reason)
