"""What becomes of records as Kafka answers this or that: sent again with the same number, refused alone, or given up with all.

Kafka itself answers so in the tests of the gateway's faults; here each answer is had at will."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from catalog.settings import LakeSettings
from ingest_gateway.broker import Broker
from ingest_gateway.delivery import NotAcknowledged
from ingest_gateway.produce import Producer
from ingest_gateway.records import Records
from ingest_gateway.session import Answer, Place
from ingest_gateway.settings import GatewaySettings

NOT_LEADER, TOO_LARGE, OUT_OF_ORDER, DUPLICATE = 6, 10, 45, 46
Said = Callable[[Mapping[Place, bytearray]], list[Answer]]


class Session:
    """Answers from a list; afterwards it takes everything."""

    def __init__(self, *script: Said | Exception) -> None:
        self.script = list(script)
        self.sent: list[dict[Place, bytes]] = []
        self.next: dict[Place, int] = {}
        self.leaders: dict[Place, int | None] = {}
        self.mistrusted = 0

    def leader(self, place: Place) -> int | None:
        return self.leaders.get(place, 1)

    def state(self, place: Place) -> tuple[int, int, int]:
        return 7, 0, self.next.get(place, 0)

    def advance(self, place: Place, records: int) -> None:
        self.next[place] = self.next.get(place, 0) + records

    def mistrust(self) -> None:
        self.mistrusted += 1

    async def refresh(self) -> bool:
        return True

    async def close(self) -> None:
        pass

    async def produce(self, node: int, batches: Mapping[Place, bytearray]) -> list[Answer]:
        self.sent.append({place: bytes(batch) for place, batch in batches.items()})
        await asyncio.sleep(0)
        step = self.script.pop(0) if self.script else said(0)
        if isinstance(step, Exception):
            raise step
        return step(batches)


def said(code: int, of: Place | None = None) -> Said:
    """The code for all batches, or for one; the rest is taken, at offset 100."""
    return lambda batches: [
        Answer(place, code, -1 if code else 100) if of in (None, place) else Answer(place, 0, 100) for place in batches
    ]


def records(count: int, size: int = 10) -> Records:
    return Records([b"k"] * count, [b"x" * size] * count, [b"i"] * count, [], None, 1)


def sequences(session: Session, place: Place) -> list[tuple[int, int]]:
    """Sequence number and count of each batch that was sent to a partition."""
    found = [batches[place] for batches in session.sent if place in batches]
    return [(int.from_bytes(batch[53:57], "big"), int.from_bytes(batch[57:61], "big")) for batch in found]


def with_producer(session: Session, work: Callable[[Producer, Broker], Awaitable[Any]], **settings: Any) -> Any:
    async def run() -> Any:
        chosen = GatewaySettings(**{"produce_timeout": 5.0, **settings})
        broker = Broker(LakeSettings.model_validate({"kafka_bootstrap": "127.0.0.1:1"}), chosen)
        broker.session, broker.state = session, "up"  # type: ignore[assignment]
        producer = Producer(broker, chosen.produce_timeout)
        async with asyncio.timeout(30):
            found = await work(producer, broker)
            assert producer.idle()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("failure", [said(NOT_LEADER), NodeNotReadyError("away"), KafkaConnectionError("cut")])
def test_what_was_not_taken_is_sent_again_with_the_same_number(failure: Said | Exception) -> None:
    session = Session(said(0), failure)

    async def work(producer: Producer, broker: Broker) -> list[list[int | None]]:
        return [await producer.write("a", [0, 0], records(2)), await producer.write("a", [0], records(1))]

    assert with_producer(session, work) == [[100, 101], [100]]
    assert sequences(session, ("a", 0)) == [(0, 2), (2, 1), (2, 1)]
    assert session.sent[1] == session.sent[2]


def test_a_stale_leader_makes_the_metadata_be_asked_for() -> None:
    session = Session(said(NOT_LEADER))
    with_producer(session, lambda producer, broker: producer.write("a", [0], records(1)))
    assert session.mistrusted == 1


def test_a_batch_that_is_refused_for_good_harms_no_other() -> None:
    session = Session(said(TOO_LARGE, ("a", 0)))

    async def work(producer: Producer, broker: Broker) -> list[Any]:
        both = [producer.write("a", [0], records(1)), producer.write("b", [0], records(1))]
        found = await asyncio.gather(*both, return_exceptions=True)
        later = await producer.write("a", [0], records(1))
        assert broker.session is not None
        return [*found, later]

    refused, taken, later = with_producer(session, work)
    assert isinstance(refused, NotAcknowledged)
    assert (refused.final, refused.of_records, taken, later) == (True, True, [100], [100])
    assert sequences(session, ("a", 0)) == [(0, 1), (0, 1)]


def test_a_number_that_kafka_may_have_seen_is_not_given_to_another_batch() -> None:
    session = Session(KafkaConnectionError("cut, perhaps after it was written"), said(TOO_LARGE))

    async def work(producer: Producer, broker: Broker) -> None:
        with pytest.raises(NotAcknowledged) as raised:
            await producer.write("a", [0], records(1))
        assert raised.value.final
        assert broker.session is None

    with_producer(session, work)


def test_what_kafka_had_already_has_no_offset() -> None:
    session = Session(said(DUPLICATE))
    assert with_producer(session, lambda producer, broker: producer.write("a", [0, 0], records(2))) == [None, None]
    assert session.next == {("a", 0): 2}


@pytest.mark.parametrize("failure", [said(OUT_OF_ORDER), lambda batches: [], ValueError("a fault of ours")])
def test_an_unknown_fate_gives_the_session_up_with_all_who_wait(failure: Said | Exception) -> None:
    session = Session(failure)

    async def work(producer: Producer, broker: Broker) -> list[Any]:
        many = [producer.write("a", [0], records(1)) for _ in range(3)]
        found = await asyncio.gather(*many, producer.write("b", [1], records(1)), return_exceptions=True)
        assert broker.session is None
        return found

    assert [type(one) for one in with_producer(session, work)] == [NotAcknowledged] * 4


def test_an_answer_that_never_comes_is_waited_for_no_longer_than_is_set() -> None:
    session = Session()

    async def never(node: int, batches: Mapping[Place, bytearray]) -> list[Answer]:
        await asyncio.sleep(3600)
        return []

    session.produce = never  # type: ignore[method-assign]

    async def work(producer: Producer, broker: Broker) -> str:
        with pytest.raises(NotAcknowledged) as raised:
            await producer.write("a", [0], records(1))
        assert broker.session is None
        return str(raised.value)

    assert with_producer(session, work, produce_timeout=0.2) == "Kafka did not acknowledge within 0.2 s"


def test_a_partition_without_a_leader_waits_for_one_and_fails_alone() -> None:
    session = Session()
    session.leaders = {("a", 0): None, ("b", 0): None}

    async def work(producer: Producer, broker: Broker) -> list[Any]:
        lost, found = (asyncio.create_task(producer.write(topic, [0], records(1))) for topic in "ab")
        usual = await producer.write("c", [0], records(1))
        session.leaders[("b", 0)] = 2
        results = await asyncio.gather(lost, found, return_exceptions=True)
        assert broker.session is not None
        return [usual, *results]

    usual, lost, found = with_producer(session, work, produce_timeout=0.5)
    assert (usual, found, str(lost)) == ([100], [100], "Kafka has no leader for a, partition 0")


def test_what_does_not_fit_into_a_batch_goes_into_the_next_in_order() -> None:
    session = Session(said(0), lambda batches: [Answer(place, 0, 500) for place in batches])
    found = with_producer(
        session,
        lambda producer, broker: producer.write("a", [0] * 5, records(5, 400)),
        batch_bytes=1500,
        max_event_bytes=1024,
    )
    assert found == [100, 101, 102, 500, 501]
    assert sequences(session, ("a", 0)) == [(0, 3), (3, 2)]


def test_who_no_longer_waits_is_not_sent() -> None:
    session = Session()

    async def work(producer: Producer, broker: Broker) -> None:
        gone = asyncio.create_task(producer.write("a", [0], records(1)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)

    with_producer(session, work)
    assert len(session.sent) <= 1
