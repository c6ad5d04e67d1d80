"""The spool of one process: what is acknowledged is on disk, leaves in order, and outlives the process."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from ingest_gateway.spool import folders, segments
from ingest_gateway.spool.backlog import SpoolRefuses
from ingest_gateway.spool.segments import DAMAGED
from tests.spool import ToldKafka, event, files, hurry, spool_at, until
from tests.stack import patient


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


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
