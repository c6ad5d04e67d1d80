"""The spool with a real Kafka that is paused, killed and full of life again: what had a 202 is in the topic, in order."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.gateway import LINES, Gateway, reading, running_gateway
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack

SENDERS = 6
GOOD = 5  # events of a request that are good; one more is not


class Ledger:
    """Clients, each with a key of its own, that send one request after the other, again until it is answered with a promise."""

    def __init__(self, gateway: Gateway, stream: str) -> None:
        self.acknowledged: set[str] = set()
        self.spooled: set[str] = set()
        self.refused: set[str] = set()
        self.problems: set[str] = set()
        self._gateway = gateway
        self._stream = stream

    async def run(self, until: Callable[[], bool]) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(*(self._send(client, sender, until) for sender in range(SENDERS)))

    async def _send(self, client: httpx.AsyncClient, sender: int, until: Callable[[], bool]) -> None:
        address = f"{self._gateway.url}/v1/streams/{self._stream}/events"
        number = 0
        while not until():
            events = [reading(f"{sender}", number * GOOD + i) for i in range(GOOD)] + [b'{"sensor":"bad"}']
            headers = LINES | {"idempotency-key": f"{sender}:{number}"}
            try:
                answer = await client.post(address, content=b"\n".join(events), headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code != 207:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) >= 1
                self.problems.add(answer.json()["type"])
                await asyncio.sleep(0.05)
                continue
            number += 1
            for event in answer.json()["events"]:
                ids = self.refused if event["status"] == "refused" else self.acknowledged
                ids.add(event["id"])
                if event["status"] == "spooled":
                    self.spooled.add(event["id"])
                    assert set(event) == {"id", "status"}

    async def gets(self, count: int) -> None:
        """Wait for so many events more that were acknowledged."""
        enough = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) > enough)

    async def gets_past_the_spool(self, count: int) -> None:
        """Wait for so many events more that went to Kafka at once."""
        enough = len(self.acknowledged - self.spooled) + count
        await until(lambda: len(self.acknowledged - self.spooled) > enough)

    def check(self) -> None:
        """All that was promised is in the topic, nothing that was refused is, and each key's events are in the order sent."""
        records = self._gateway.records(self._stream)
        held = {r.headers["ce_id"].decode() for r in records}
        assert self.acknowledged
        assert self.acknowledged <= held
        assert not self.refused & held
        for sender in range(SENDERS):
            values = [json.loads(r.value)["value"] for r in records if r.key == b"%d" % sender]
            first = list(dict.fromkeys(values))  # a repeat is dropped in silver
            assert first == sorted(first)


def emptied(gateway: Gateway) -> None:
    eventually(lambda: gateway.ready()["spool"]["state"] == "empty", 120, "the spool is empty")
    gateway.await_status("ready")


@contextmanager
def paused(stack: Stack) -> Iterator[None]:
    """Kafka, stopped in mid-word: it neither answers nor closes a connection."""
    pid = stack.pid("kafka")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def until(condition: Callable[[], bool], limit: float = 90) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)


@pytest.fixture
def gateway(stack: Stack, tmp_path: Path) -> Iterator[Gateway]:
    with spooling(stack, tmp_path) as running:
        yield running


@contextmanager
def spooling(
    stack: Stack, folder: Path, status: str = "ready", wrap: Sequence[str] = (), **settings: str
) -> Iterator[Gateway]:
    contracts = folder / "contracts"
    contracts.mkdir(exist_ok=True)
    chosen = {"spool": str(folder / "spool"), "produce_timeout": "3", **settings}
    with running_gateway(stack, contracts, None, status, wrap, **chosen) as running:
        yield running


def test_a_paused_broker_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    stream = gateway.stream("gw_spool_paused")
    ledger = Ledger(gateway, stream)

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        await ledger.gets(300)
        with paused(stack):
            await until(lambda: len(ledger.spooled) > 1000)
            state = await asyncio.to_thread(gateway.ready)
            assert state["status"] == "degraded"
            assert state["spool"]["state"] == "holding"
            assert state["spool"]["streams"][stream]["events"] > 0
        await ledger.gets_past_the_spool(300)  # the spool ended under load
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.problems == set()
    ledger.check()
    metrics = httpx.get(f"{gateway.url}/metrics").text
    drained = next(
        line for line in metrics.splitlines() if line.startswith("sluice_gateway_spool_drained_events_total")
    )
    assert float(drained.split()[1]) >= len(ledger.spooled)
    assert f'verdict="spooled"}} {len(ledger.spooled):.1f}' in metrics


def test_a_record_is_the_same_by_either_way(gateway: Gateway, stack: Stack) -> None:
    stream = gateway.stream("gw_spool_same")

    def send(name: str) -> None:
        events = [
            {"specversion": "1.0", "id": f"{name}-{i}", "source": "/s", "type": f"t{i}", "subject": "x",
             "time": "2026-01-01T00:00:00Z", "data": {"sensor": f"k{i}", "value": i}}
            for i in range(4)
        ]  # fmt: skip
        headers = {"content-type": "application/cloudevents-batch+json"}
        assert gateway.post(stream, json.dumps(events).encode(), headers).status_code == 202
        assert gateway.post(stream, reading("plain", 1), {"idempotency-key": f"{name}-4"}).status_code == 202

    send("direct")
    with paused(stack):
        gateway.await_status("degraded")
        send("spooled")
    emptied(gateway)
    ways: dict[str, dict[str, object]] = {"direct": {}, "spooled": {}}
    for record in gateway.records(stream):
        way, _, number = record.headers["ce_id"].decode().partition("-")
        facts = {name: value for name, value in record.headers.items() if name not in ("ce_id", "ce_time")}
        ways[way][number] = (record.partition, record.key, record.value, facts)
    assert len(ways["direct"]) == 5
    assert ways["direct"] == ways["spooled"]


def test_a_broker_that_stutters_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    """Pauses about as long as the gateway's patience: some batches are written, and told too late."""
    ledger = Ledger(gateway, gateway.stream("gw_spool_stutter"))

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        for length in (2.5, 3.0, 3.1, 3.5):
            await ledger.gets_past_the_spool(60)
            with paused(stack):
                await asyncio.sleep(length)  # it is the pause that is tested
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.problems == set()
    ledger.check()


def test_a_broker_whose_disk_is_full_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    """The system refuses to let its files grow (EFBIG), so Kafka gives its log up and ends; its supervisor starts it again."""
    stream = gateway.stream("gw_spool_kafka_disk")
    ledger = Ledger(gateway, stream)

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        await ledger.gets(300)
        pid = stack.pid("kafka")
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))
        await asyncio.to_thread(stack.await_ready, "kafka", pid)
        await ledger.gets_past_the_spool(300)
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.spooled
    ledger.check()


def test_what_kafka_refuses_for_good_is_told_and_not_spooled(gateway: Gateway) -> None:
    name = gateway.stream("gw_spool_narrow", topic=False)
    gateway.make_topic(name, {"max.message.bytes": "1000"})
    eventually(lambda: gateway.post(name, reading("a", 1)).status_code == 202, 20, "the topic")
    answer = gateway.post(name, reading("b" * 2000, 1))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sluice:problem:not-acknowledged")
    assert "MessageSizeTooLarge" in answer.json()["detail"]
    emptied(gateway)
    assert gateway.post(name, reading("a", 2)).json()["events"][0]["status"] == "accepted"
    assert {json.loads(r.value)["sensor"] for r in gateway.records(name)} == {"a"}


def test_a_killed_broker_costs_nobody_anything(gateway: Gateway, stack: Stack) -> None:
    ledger = Ledger(gateway, gateway.stream("gw_spool_killed"))

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        for _ in range(2):
            await ledger.gets(300)
            pid = stack.pid("kafka")
            stack.kill("kafka", signal.SIGKILL)
            await asyncio.to_thread(stack.await_ready, "kafka", pid)
        await ledger.gets_past_the_spool(300)
        enough.set()
        await sending

    asyncio.run(run())
    emptied(gateway)
    assert ledger.spooled
    ledger.check()


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


def test_a_full_spool_says_so_and_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    with spooling(stack, tmp_path, spool_bytes="200000", max_body_bytes="50000") as gateway:
        ledger = Ledger(gateway, gateway.stream("gw_spool_full"))

        async def run() -> None:
            enough = asyncio.Event()
            sending = asyncio.create_task(ledger.run(enough.is_set))
            with paused(stack):
                await until(lambda: "urn:sluice:problem:spool-full" in ledger.problems)
                held = sum(path.stat().st_size for path in (tmp_path / "spool").rglob("*.spool"))
                assert 100_000 < held <= 200_000
            await ledger.gets_past_the_spool(100)
            enough.set()
            await sending

        asyncio.run(run())
        emptied(gateway)
        ledger.check()


def test_a_full_disk_says_so_and_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """On a file system of 1 MiB, in a mount namespace of the gateway's own."""
    spool = tmp_path / "spool"
    spool.mkdir()
    small = f'mount -t tmpfs -o size=1m tmpfs {spool} && exec "$@"'
    wrap = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*wrap, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    with spooling(stack, tmp_path, wrap=wrap) as gateway:
        ledger = Ledger(gateway, gateway.stream("gw_spool_disk"))

        async def run() -> None:
            enough = asyncio.Event()
            sending = asyncio.create_task(ledger.run(enough.is_set))
            with paused(stack):
                await until(lambda: "urn:sluice:problem:spool-disk" in ledger.problems)
                eventually(lambda: gateway.ready()["status"] == "unready", 20, "unready")
                assert "No space left" in " ".join(gateway.ready()["reasons"])
            await ledger.gets_past_the_spool(100)
            enough.set()
            await sending

        asyncio.run(run())
        emptied(gateway)
        assert ledger.spooled
        ledger.check()


def test_a_stop_while_events_are_spooled_keeps_them(stack: Stack, tmp_path: Path) -> None:
    with paused(stack), spooling(stack, tmp_path, status="degraded") as gateway:
        stream = gateway.stream("gw_spool_stop", topic=False)
        assert gateway.post(stream, reading("a", 1), {"idempotency-key": "one"}).status_code == 202
    with spooling(stack, tmp_path, status="degraded") as gateway:  # there is no such topic yet
        eventually(lambda: "no topic" in " ".join(gateway.ready()["reasons"]), 30, "the reason")
        answer = gateway.post(stream, reading("a", 2))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:sluice:problem:topic-missing")
        gateway.make_topic(stream)
        emptied(gateway)
        assert [r.headers["ce_id"] for r in gateway.records(stream)] == [b"one"]


def test_the_command_lists_exports_and_drains(stack: Stack, tmp_path: Path) -> None:
    def spool(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-P", "-m", "infra.cli", "spool", *arguments, "--folder", str(tmp_path / "spool")]
        environ = {**os.environ, **stack.env(), "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    assert "no event waits" in spool("list")
    with spooling(stack, tmp_path) as gateway:
        stream = gateway.stream("gw_spool_command")
        with paused(stack):
            gateway.await_status("degraded")
            for number in range(20):
                headers = {"idempotency-key": f"c{number}"}
                assert gateway.post(stream, reading("a", number), headers).json()["events"][0]["status"] == "spooled"
            [segment] = [s for s in json.loads(spool("list", "--json")) if s["events"] > 1]
            assert (segment["stream"], segment["lost_bytes"], segment["drained"]) == (stream, 0, False)
            assert segment["pid"] == str(gateway.process.pid)
            assert segment["age_s"] < 300
            assert "20 events wait" in spool("list")
            assert "a gateway that runs drains by itself" in spool("drain", code=1)
            gateway.process.kill()
            gateway.process.wait()
        lines = spool("export", stream).splitlines()
        assert [json.loads(line)["id"] for line in lines] == [f"c{n}" for n in range(20)]
        assert json.loads(lines[3])["data"] == {"sensor": "a", "value": 3}
        assert json.loads(spool("export", stream, "-o", str(tmp_path / "out"), "--json"))["events"] == 20
        stack.await_ready("kafka")
        assert json.loads(spool("drain", "--json")) == {"drained": 20, "left": 0, "lost_bytes": 0, "reasons": {}}
        assert [r.headers["ce_id"].decode() for r in gateway.records(stream)] == [f"c{n}" for n in range(20)]
        assert json.loads(spool("list", "--json")) == []
    with spooling(stack, tmp_path) as gateway:
        again = gateway.post(
            stream, (tmp_path / "out").read_bytes(), {"content-type": "application/cloudevents+ndjson"}
        )
        assert [event["id"] for event in again.json()["events"]] == [f"c{n}" for n in range(20)]
