"""The spool of one process, with a broker that can be told to be away, to refuse, or to take its time."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest_gateway.produce import NotAcknowledged, Records
from ingest_gateway.spool import folders, offline, segments
from ingest_gateway.spool.backlog import SpoolRefuses
from ingest_gateway.spool.drain import Refused, Stuck, next_pause
from ingest_gateway.spool.segments import ASIDE, DAMAGED, SUFFIX
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
async def spool_at(root: Path, kafka: ToldKafka, limit: int = LIMIT, drain: int = 1 << 30) -> AsyncIterator[Spool]:
    spool = Spool(root, limit, drain, 5.0, kafka)
    await spool.start()
    try:
        yield spool
    finally:
        await spool.close()


async def until(condition: Callable[[], bool], limit: float = 20) -> None:
    async with asyncio.timeout(patient(limit)):
        while not condition():  # noqa: ASYNC110 - the condition is other tasks' work
            await asyncio.sleep(0.005)


def files(root: Path) -> list[Path]:
    return sorted(root.rglob(f"*{SUFFIX}*"))


def test_events_wait_on_disk_and_leave_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        kafka = ToldKafka()
        async with spool_at(tmp_path, kafka) as spool:
            for n in range(50):
                assert await spool.put("orders", event("k", b"%d" % n), overtaking=True)
            assert spool.holds("orders")
            assert not spool.holds("users")
            assert spool.held()["orders"].events == 50
            assert spool.space.held == sum(path.stat().st_size for path in files(tmp_path))
            kafka.up.set()
            await until(lambda: not spool.holds("orders"))
            assert kafka.written == [("orders", b"k", b"%d" % n) for n in range(50)]
            assert files(tmp_path) == []
            assert spool.space.held == 0

    asyncio.run(run())


def test_many_requests_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fdatasync

    def counting(file: int) -> None:
        nonlocal syncs
        syncs += 1
        real(file)

    monkeypatch.setattr("os.fdatasync", counting)

    async def run() -> None:
        async with spool_at(tmp_path, ToldKafka()) as spool:
            await asyncio.gather(*(spool.put("s", event("k", b"%d" % n), overtaking=True) for n in range(500)))

    asyncio.run(run())
    assert 1 <= syncs < 50


def test_nothing_is_acknowledged_before_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(file: int) -> None:
        raise OSError(5, "Input/output error")

    async def run() -> None:
        async with spool_at(tmp_path, ToldKafka()) as spool:
            await spool.put("s", event("k", b"before"), overtaking=True)
            with monkeypatch.context() as patch:
                patch.setattr("os.fdatasync", refusing)
                with pytest.raises(SpoolRefuses, match="Input/output") as refused:
                    await spool.put("s", event("k", b"lost"), overtaking=True)
                assert refused.value.slug == "spool-disk"
                assert spool.refusal() is not None
            await spool.put("s", event("k", b"after"), overtaking=True)
            assert spool.refusal() is None
        assert len(files(tmp_path)) == 2, "a file is used no more after a failed sync"
        found = [frame.body for path in files(tmp_path) for frame in segments.content(path).frames]
        assert [b"before" in found[0], b"after" in found[1], len(found)] == [True, True, 2]

    asyncio.run(run())


def test_what_does_not_fit_is_refused_and_fits_again_after_the_drain(tmp_path: Path) -> None:
    async def run() -> None:
        kafka = ToldKafka()
        async with spool_at(tmp_path, kafka, limit=20_000) as spool:
            taken = 0
            refusal = None
            while refusal is None:
                try:
                    await spool.put("s", event("k", b"%05d" % taken + b"x" * 900), overtaking=True)
                    taken += 1
                except SpoolRefuses as failure:
                    refusal = failure
            assert refusal.slug == "spool-full"
            assert 15 < taken < 21
            assert sum(path.stat().st_size for path in files(tmp_path)) <= 20_000
            kafka.up.set()
            await until(lambda: not spool.holds("s"))
            assert len(kafka.written) == taken
            kafka.up.clear()
            assert await spool.put("s", event("k", b"again"), overtaking=True)

    asyncio.run(run())


def test_a_process_goes_on_with_what_a_dead_one_left(tmp_path: Path) -> None:
    async def run() -> None:
        for start in (0, 8, 16):  # each leaves a segment
            async with spool_at(tmp_path, ToldKafka()) as spool:
                for n in range(start, min(start + 8, 20)):
                    await spool.put("s", event("k", b"%d" % n), overtaking=True)
        *_, left = files(tmp_path)
        assert left.name.startswith("000000000003")
        left.write_bytes(left.read_bytes() + b"\0" * 7)  # a torn tail
        kafka = ToldKafka()
        async with spool_at(tmp_path, kafka) as spool:
            assert spool.holds("s")
            assert spool.held()["s"].events == 20
            await spool.put("s", event("k", b"20"), overtaking=False)
            kafka.up.set()
            await until(lambda: not spool.holds("s"))
            assert kafka.payloads() == [b"%d" % n for n in range(21)]
        assert files(tmp_path) == []

    asyncio.run(run())


def test_two_processes_share_no_segment_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    async def run() -> None:
        first = ToldKafka()
        second = ToldKafka(up=True)
        async with spool_at(tmp_path, second) as staying:
            async with spool_at(tmp_path, first) as dying:
                await dying.put("s", event("k", b"left"), overtaking=True)
                assert [folder.name for folder in folders.slots(tmp_path)] == ["00", "01"]
                assert folders.user(tmp_path / "01") == str(os.getpid())
                assert list(folders.orphans(tmp_path)) == []
                assert not staying.holds("s")
            assert folders.user(tmp_path / "01") is None
            await until(lambda: second.payloads() == [b"left"])
            await until(lambda: files(tmp_path) == [])

    asyncio.run(run())


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


def test_attempts_become_rare_only_where_kafka_refuses_for_good() -> None:
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


def test_later_events_never_overtake_and_the_spool_empties_under_load(tmp_path: Path) -> None:
    async def run() -> None:
        kafka = ToldKafka()
        kafka.slowness = 0.001
        direct = 0
        async with spool_at(tmp_path, kafka, limit=64 << 20) as spool:
            for n in range(3000):
                await asyncio.wait_for(spool.put("s", event("k", b"%d" % n + b"." * 500), overtaking=True), patient(60))
                if n == 1000:
                    break
            kafka.up.set()

            async def sender(key: str) -> None:
                nonlocal direct
                for n in range(10_000):
                    record = event(key, b"%d" % n)
                    if not (spool.holds("s") and await spool.put("s", record, overtaking=False)):
                        direct += 1
                        await kafka.write("s", [0], record)
                    if direct > 2000:
                        return

            await asyncio.gather(*(sender(f"key{s}") for s in range(30)))
        assert direct > 2000
        seen: dict[bytes, int] = {}
        for _, key, payload in kafka.written:
            number = int(payload.rstrip(b"."))
            assert number == seen.get(key, -1) + 1, f"{key!r}: {number} after {seen.get(key)}"
            seen[key] = number

    asyncio.run(run())


def test_what_cannot_be_read_is_kept_and_the_rest_is_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with spool_at(tmp_path, ToldKafka()) as spool:
            for n in range(9):
                await spool.put("s", event("k", b"%d" % n), overtaking=True)
        [left] = files(tmp_path)
        data = bytearray(left.read_bytes())
        broken = segments.content(left).frames[random.Random(1).randrange(9)]
        data[broken.end - 1] ^= 4
        left.write_bytes(data)
        kafka = ToldKafka(up=True)
        async with spool_at(tmp_path, kafka) as spool:
            await until(lambda: not spool.holds("s"))
        assert len(kafka.written) == 8
        assert [path.name for path in files(tmp_path)] == [left.name + DAMAGED]

    asyncio.run(run())


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=r"SLUICE_GATEWAY_SPOOL=.*cannot be written to"):
        folders.prepare(tmp_path / "file" / "spool")
