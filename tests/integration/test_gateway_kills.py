"""The gateway or its workers killed while clients keep sending: what had a 202 is in the topic."""

import asyncio
from pathlib import Path

import psutil
import pytest

from tests.gateway import Gateway, reading
from tests.ledger import Ledger, paused, spooling, until
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_gateway_leaves_its_spool_to_the_next(stack: Stack, tmp_path: Path, workers: str) -> None:
    with spooling(stack, tmp_path, workers=workers) as dying:
        ledger = Ledger(dying, dying.stream("gw_spool_dead"))

        async def run() -> None:
            killed = asyncio.Event()
            sending = asyncio.create_task(ledger.run(killed.is_set))
            with paused(stack):
                await until(lambda: len(ledger.spooled) > 500)
                for worker in psutil.Process(dying.process.pid).children(recursive=True):
                    worker.kill()
                dying.process.kill()
                await asyncio.to_thread(dying.process.wait)
                killed.set()
                await sending
                # A gateway that starts while Kafka is away takes events too, behind those that are there.
                with spooling(stack, tmp_path, status="degraded", port=dying.url.rpartition(":")[2]) as next_one:
                    assert next_one.ready()["spool"]["events"] >= len(ledger.spooled)
                    enough = asyncio.Event()
                    sending = asyncio.create_task(ledger.run(enough.is_set))
                    before = len(ledger.spooled)
                    await until(lambda: len(ledger.spooled) > before + 100)
                    enough.set()
                    await sending
            with spooling(stack, tmp_path, status="ready"):
                pass

        asyncio.run(run())
        if workers == "1":
            ledger.check()
        else:  # two workers: no order between them
            held = {r.headers["ce_id"].decode() for r in dying.records(ledger._stream)}
            assert ledger.acknowledged <= held


def test_a_killed_worker_leaves_its_spool_to_the_others(stack: Stack, tmp_path: Path) -> None:
    with spooling(stack, tmp_path, workers="2") as gateway:
        stream = gateway.stream("gw_spool_worker")
        served = [gateway.post(stream, reading("a", -1)).status_code for _ in range(20)]
        assert set(served[10:]) == {202}, "both workers know the stream"
        with paused(stack):
            taken: set[str] = set()
            for number in range(200):
                answer = gateway.post(stream, reading("a", number))
                assert answer.status_code == 202, answer.text
                taken.add(answer.json()["events"][0]["id"])
            worker = next(p for p in psutil.Process(gateway.process.pid).children() if _holds(p, tmp_path))
            worker.kill()
        eventually(lambda: not list((tmp_path / "spool").rglob("*.spool")), 60, "drained by those who are left")
        assert taken <= {r.headers["ce_id"].decode() for r in gateway.records(stream)}


def _holds(process: psutil.Process, folder: Path) -> bool:
    try:
        return any(str(folder) in file.path and file.path.endswith(".spool") for file in process.open_files())
    except psutil.Error:
        return False


def workers(gateway: Gateway) -> list[psutil.Process]:
    return [child for child in psutil.Process(gateway.process.pid).children() if _works(child)]


def _works(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has just died
        return False


def test_workers_killed_again_and_again_lose_nothing(stack: Stack, tmp_path: Path) -> None:
    """Clients see their connections end and send the same ids again; another worker takes the place of the dead one."""
    with spooling(stack, tmp_path, workers="2") as gateway:
        ledger = Ledger(gateway, gateway.stream("gw_workers_killed"))

        async def kill_one() -> None:
            await until(lambda: len(workers(gateway)) == 2)
            victim = workers(gateway)[0]
            victim.kill()
            await until(lambda: victim not in workers(gateway))
            await ledger.gets(200)

        async def run() -> None:
            async with ledger.sending():
                await ledger.gets(200)
                for _ in range(3):
                    await kill_one()
                with paused(stack):  # and now with events in their spools
                    await ledger.spools(300)
                    await kill_one()
                await ledger.gets_past_the_spool(200)

        asyncio.run(run())
        eventually(lambda: not list((tmp_path / "spool").rglob("*.spool")), 60, "drained by those who are left")
        assert ledger.problems <= {"urn:sluice:problem:broker-away"}
        ledger.check(ordered=False)
