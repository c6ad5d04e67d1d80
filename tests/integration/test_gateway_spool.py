"""The spool beside a real Kafka: it holds what Kafka would; full, stopped or drained by command, it loses nothing."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest_gateway.spool import offline
from tests.gateway import Gateway, reading
from tests.ledger import Ledger, emptied, paused, spooling, until
from tests.stack import CHECKOUT, Stack, eventually, patient

pytestmark = pytest.mark.stack


@pytest.fixture
def gateway(stack: Stack, tmp_path: Path) -> Iterator[Gateway]:
    with spooling(stack, tmp_path) as running:
        yield running


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


def test_an_event_that_its_topic_refuses_is_set_aside_and_goes_when_it_may(stack: Stack, tmp_path: Path) -> None:
    """Nobody knew, while Kafka was away, that the topic would not take it."""
    with spooling(stack, tmp_path) as gateway:
        stream = gateway.stream("gw_spool_aside", topic=False)
        gateway.make_topic(stream, {"max.message.bytes": "1000"})
        eventually(lambda: gateway.post(stream, reading("a", 0)).status_code == 202, 20, "the topic")
        with paused(stack):
            gateway.await_status("degraded")
            for number, sensor in enumerate(("a", "b" * 2000, "c"), 1):
                sent = gateway.post(stream, reading(sensor, number), {"idempotency-key": f"k{number}"})
                assert sent.json()["events"][0]["status"] == "spooled"
        eventually(lambda: gateway.ready()["spool"].get("aside") == {stream: 1}, 60, "set aside")
        assert any(f"{stream}: 1 spooled events are set aside" in reason for reason in gateway.ready()["reasons"])
        assert gateway.ready()["spool"]["state"] == "empty"
        assert gateway.post(stream, reading("a", 9)).json()["events"][0]["status"] == "accepted"
        assert {json.loads(r.value)["value"] for r in gateway.records(stream)} == {0, 1, 3, 9}
        eventually(lambda: gateway.metric("sluice_gateway_spool_aside_events") == 1, 20, "metric")
    assert [json.loads(line)["id"] for line in offline.exported(tmp_path / "spool", stream)] == ["k2"]
    gateway.widen(stream, "10000")
    with spooling(stack, tmp_path) as gateway:
        emptied(gateway)
        assert gateway.ready()["spool"]["aside"] == {}
        assert b"k2" in {r.headers["ce_id"] for r in gateway.records(stream)}


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
        environ = {**os.environ, **stack.env(), "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=patient(120))
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
