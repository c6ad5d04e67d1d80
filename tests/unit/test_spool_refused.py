"""A broker that refuses: what it may take later is sent again, what it never will is set aside, and nothing holds up the rest."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest_gateway.delivery import NotAcknowledged
from ingest_gateway.records import Records
from ingest_gateway.spool import offline
from ingest_gateway.spool.drain import Refused, Stuck, next_pause
from ingest_gateway.spool.segments import ASIDE, SUFFIX
from tests.spool import ToldKafka, event, files, hurry, spool_at, until


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_a_failed_write_is_tried_again_from_where_it_failed(tmp_path: Path) -> None:
    async def run() -> None:
        kafka = ToldKafka()
        async with spool_at(tmp_path, kafka) as spool:
            for n in range(5):
                await spool.put("s", event("k", b"%d" % n), overtaking=True)
            kafka.failures = [NotAcknowledged("no answer")] * 5
            kafka.up.set()
            await until(lambda: "s" in spool.held() and spool.held()["s"].stuck == "no answer")
            await until(lambda: not spool.holds("s"))
            assert kafka.payloads() == [b"%d" % n for n in range(5)]

    asyncio.run(run())


def test_a_drain_goes_on_behind_what_was_acknowledged(tmp_path: Path) -> None:
    class OnceAway(ToldKafka):
        was_away = False

        async def write(self, topic: str, partitions: Sequence[int], records: Records) -> object:
            if len(self.written) == 10 and not self.was_away:
                self.was_away = True
                raise NotAcknowledged("away")
            return await super().write(topic, partitions, records)

    async def run() -> None:
        kafka = OnceAway()
        async with spool_at(tmp_path, kafka, limit=8 << 20) as spool:
            sent = [b"%d" % n + b"x" * 100_000 for n in range(20)]
            for payload in sent:
                await spool.put("s", event("k", payload), overtaking=True)
            kafka.up.set()
            await until(lambda: not spool.holds("s"))
            assert kafka.was_away
            assert set(kafka.payloads()) == set(sent)
            assert len(kafka.written) < len(sent) + 5

    asyncio.run(run())


class Narrow(ToldKafka):
    """Takes no more than 100 bytes at a time. Where `forbidden`, nothing at all."""

    forbidden = False

    async def write(self, topic: str, partitions: Sequence[int], records: Records) -> object:
        if self.forbidden:
            raise NotAcknowledged("not allowed", final=True)
        if sum(map(len, records.payloads)) > 100:
            raise NotAcknowledged("too large", final=True, of_records=True)
        return await super().write(topic, partitions, records)


def test_a_batch_that_is_too_large_is_sent_in_pieces_and_an_event_that_is_holds_nothing_up(tmp_path: Path) -> None:
    async def run() -> None:
        kafka = Narrow()
        async with spool_at(tmp_path, kafka) as spool:
            many = [b"%d" % n + b"x" * 60 for n in range(9)]
            ids = [b"i%d" % n for n in range(9)]
            await spool.put("s", Records(ids, many, ids, [], [[("h", i)] for i in ids], 1), overtaking=True)
            await spool.put("s", event("k", b"y" * 200), overtaking=True)
            await spool.put("s", event("k", b"z"), overtaking=True)
            kafka.up.set()
            await until(lambda: not spool.holds("s"))
            assert kafka.payloads()[-10:] == [
                *many,
                b"z",
            ]  # the last may have been sent before, beside the first attempt
            await until(lambda: spool.aside == {"s": 1})
            assert spool.space.held == sum(path.stat().st_size for path in files(tmp_path)) > 200
        [kept] = files(tmp_path)
        assert kept.name.endswith(SUFFIX + ASIDE)
        [line] = offline.exported(tmp_path, "s")
        assert b'"id":"id-yyyy' in line
        [listed] = offline.listed(tmp_path)
        assert (listed.events, listed.aside, listed.drained) == (1, True, False)
        # The topic takes more by now: the next process sends what was set aside.
        wide = ToldKafka(up=True)
        async with spool_at(tmp_path, wide) as spool:
            await until(lambda: bool(wide.written) and not spool.holds("s"))
            await until(lambda: spool.aside == {})
        assert wide.payloads() == [b"y" * 200]
        assert not files(tmp_path)

    asyncio.run(run())


def test_what_is_still_refused_is_set_aside_again(tmp_path: Path) -> None:
    async def run() -> None:
        for _ in range(3):
            kafka = Narrow(up=True)
            async with spool_at(tmp_path, kafka) as spool:
                if not files(tmp_path):
                    await spool.put("s", event("k", b"y" * 200), overtaking=True)
                await until(lambda: not spool.holds("s") and spool.aside == {"s": 1})
        assert len(list(offline.exported(tmp_path, "s"))) == 1

    asyncio.run(run())


def test_an_event_is_set_aside_once_though_its_chunk_is_sent_again(tmp_path: Path) -> None:
    class Stumbling(Narrow):
        async def write(self, topic: str, partitions: Sequence[int], records: Records) -> object:
            if records.payloads == [b"z"] and stumbles:
                raise stumbles.pop()
            return await super().write(topic, partitions, records)

    stumbles = [NotAcknowledged("no answer"), NotAcknowledged("no answer")]

    async def run() -> None:
        kafka = Stumbling()
        async with spool_at(tmp_path, kafka) as spool:
            for payload in (b"a", b"y" * 200, b"z"):
                await spool.put("s", event("k", payload), overtaking=True)
            kafka.up.set()
            await until(lambda: not spool.holds("s"))
        assert not stumbles
        assert len(list(offline.exported(tmp_path, "s"))) == 1

    asyncio.run(run())


def test_what_the_topic_refuses_whatever_it_is_waits(tmp_path: Path) -> None:
    async def run() -> None:
        kafka = Narrow(up=True)
        kafka.forbidden = True
        async with spool_at(tmp_path, kafka) as spool:
            await spool.put("s", event("k", b"1"), overtaking=True)
            await until(lambda: spool.held()["s"].stuck == "not allowed")
            kafka.forbidden = False
            await until(lambda: not spool.holds("s"))
            assert spool.aside == {}

    asyncio.run(run())


def test_attempts_become_rare_only_where_kafka_refuses_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses = [0.0]
    for _ in range(8):
        pauses.append(next_pause(pauses[-1], Refused("too large")))
    assert pauses[1:] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert next_pause(60, Stuck("no answer")) == 1


def test_a_stream_without_a_topic_holds_up_no_other(tmp_path: Path) -> None:
    class WithoutTopic(ToldKafka):
        async def partitions(self, topic: str) -> int:
            return 0 if topic == "gone" else 3

    async def run() -> None:
        kafka = WithoutTopic()
        async with spool_at(tmp_path, kafka) as spool:
            await spool.put("gone", event("k", b"1"), overtaking=True)
            await spool.put("s", event("k", b"2"), overtaking=True)
            kafka.up.set()
            await until(lambda: not spool.holds("s"))
            await until(lambda: "no topic gone" in str(spool.held()["gone"].stuck))
            assert kafka.payloads() == [b"2"]

    asyncio.run(run())
