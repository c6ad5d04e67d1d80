"""What one request waits for: its records, spread over partitions and batches, all of them acknowledged."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidMessageError,
    InvalidTimestampError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnsupportedForMessageFormatError,
)

from ingest_gateway.record_batch import RecordBatch
from ingest_gateway.records import Records

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
class Chunk:
    """The records of a request that go to one partition: indices into its columns, from `next` on still to be sent."""

    records: Records
    indices: Sequence[int]
    delivery: Delivery
    next: int = 0


Part = tuple[Chunk, int, int]  # what of a chunk is in a batch: its indices from, to


def filled(batch: RecordBatch, waiting: deque[Chunk]) -> list[Part]:
    """Move records from the queue into the batch until it is full. Returns what went in."""
    sent: list[Part] = []
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


def settle(sent: list[Part], base: int) -> None:
    """Tell each request where its records are: the batch's begin at offset `base`, in the order in which they went in."""
    offset = base
    for chunk, start, end in sent:
        if base >= 0:
            offsets = chunk.delivery.offsets
            for place in range(start, end):
                offsets[chunk.indices[place]] = offset
                offset += 1
        chunk.delivery.settle(end - start)
