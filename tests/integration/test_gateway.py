"""The gateway with a real Kafka: what was acknowledged is in the topic, byte for byte, whatever is killed meanwhile."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka.partitioner import DefaultPartitioner

from tests.gateway import LINES, SLOWEST, Gateway, reading, running_gateway
from tests.stack import Stack, eventually, patient

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(
        stack, tmp_path_factory.mktemp("contracts"), produce_timeout="5", max_events="1000", max_body_bytes="100000",
        read_timeout="4", max_event_bytes="50000", max_in_flight_bytes="200000",
    ) as running:  # fmt: skip
        yield running


def test_what_was_sent_is_what_kafka_holds(gateway: Gateway) -> None:
    stream = gateway.stream("gw_bytes")
    sent = [reading(f"s{i % 7}", i) for i in range(50)]
    answer = gateway.post(stream, b"\n".join(sent), LINES | {"idempotency-key": "batch"})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["stream"], body["accepted"], body["refused"]) == (stream, 50, 0)
    found = {(r.partition, r.offset): r for r in gateway.records(stream)}
    assert len(found) == 50
    pick = DefaultPartitioner()
    for place, (event, payload) in enumerate(zip(body["events"], sent, strict=True)):
        assert (event["id"], event["status"]) == (f"batch-{place}", "accepted")
        record = found[event["partition"], event["offset"]]
        assert record.value == payload
        assert record.key == f"s{place % 7}".encode()
        assert record.partition == pick(record.key, [0, 1, 2], [0, 1, 2])
        assert record.headers["ce_id"] == event["id"].encode()
        assert record.headers["content-type"] == b"application/json"
        assert record.headers["ce_specversion"] == b"1.0"
        assert record.headers["ce_type"] == stream.encode()
        assert record.headers["ce_source"] == f"/v1/streams/{stream}".encode()
        assert record.headers["ce_contractversion"] == b"2.0.0"
        assert record.headers["ce_producer"] == b"anonymous"
        assert record.headers["ce_time"].endswith(b"Z")
    for sensor in {r.key for r in found.values()}:
        values = [json.loads(r.value)["value"] for r in found.values() if r.key == sensor]
        assert values == sorted(values), "records of one key are in the order sent"


def test_one_bad_event_spoils_no_other(gateway: Gateway) -> None:
    stream = gateway.stream("gw_mixed", keyed=False)
    good = reading("a", 1)
    answer = gateway.post(stream, b"[" + b",".join([good, b'{"sensor":1}', b"7", good]) + b"]")
    assert answer.status_code == 207
    assert [e["status"] for e in answer.json()["events"]] == ["accepted", "refused", "refused", "accepted"]
    assert {e["pointer"] for e in answer.json()["events"][1]["errors"]} == {"/sensor", "/value"}
    assert gateway.post(stream, b"{}").status_code == 422
    held = gateway.records(stream)
    assert [r.value for r in held] == [good, good]
    ids = {e["id"] for e in answer.json()["events"] if e["status"] == "accepted"}
    assert {r.headers["ce_id"].decode() for r in held} == {r.key.decode() for r in held} == ids


def test_every_format_is_taken(gateway: Gateway) -> None:
    stream = gateway.stream("gw_formats")
    good = reading("a", 1)
    event = (
        b'{"specversion":"1.0","id":"e1","source":"/s","type":"t","time":"2026-01-01T00:00:00Z","data":' + good + b"}"
    )
    binary = {"ce-specversion": "1.0", "ce-id": "e2", "ce-source": "/s", "ce-type": "t"}
    for content, headers in (
        (good, {}),
        (b"[" + good + b"]", {}),
        (good, LINES),
        (event, {"content-type": "application/cloudevents+json"}),
        (b"[" + event + b"]", {"content-type": "application/cloudevents-batch+json"}),
        (event, {"content-type": "application/cloudevents+ndjson"}),
        (good, binary),
        (b"sensor=a&value=1", {"content-type": "application/x-www-form-urlencoded"}),
        (
            b'--b\r\nContent-Disposition: form-data; name="sensor"\r\n\r\na\r\n'
            b'--b\r\nContent-Disposition: form-data; name="value"\r\n\r\n1\r\n--b--\r\n',
            {"content-type": "multipart/form-data; boundary=b"},
        ),
    ):
        answer = gateway.post(stream, content, headers)
        assert answer.status_code == 202, answer.text
    held = gateway.records(stream)
    assert [json.loads(r.value) for r in held] == [{"sensor": "a", "value": 1}] * 9
    assert [r.value for r in held[:7]] == [good] * 7
    of_e1 = [r.headers for r in held if r.headers["ce_id"] == b"e1"]
    assert len(of_e1) == 3
    assert {h["ce_source"] for h in of_e1} == {b"/s"}
    assert {h["ce_eventtime"] for h in of_e1} == {b"2026-01-01T00:00:00Z"}


def test_the_same_key_makes_the_same_ids(gateway: Gateway) -> None:
    stream = gateway.stream("gw_resend")
    first, again = (gateway.post(stream, reading("a", 1), {"idempotency-key": '"k1"'}).json() for _ in range(2))
    assert [e["id"] for e in first["events"] + again["events"]] == ["k1", "k1"]
    assert {r.headers["ce_id"] for r in gateway.records(stream)} == {b"k1"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"{}", {"idempotency-key": "a b"}, 400),
        (b"{}", {"ce-specversion": "1.0"}, 400),
        (b"x" * 200_000, {}, 413),
        (b"{}\n" * 1001, LINES, 413),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-encoding": "br"}, 415),
    ],
)
def test_whole_request_errors_are_problems(
    gateway: Gateway, content: bytes, headers: dict[str, str], status: int
) -> None:
    stream = gateway.stream("gw_problems")
    answer = gateway.post(stream, content, headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert gateway.records(stream) == []


def test_a_chunked_body_is_bounded_too(gateway: Gateway) -> None:
    stream = gateway.stream("gw_chunked")
    address = f"{gateway.url}/v1/streams/{stream}/events"
    kind = {"content-type": "application/json"}
    assert (
        httpx.post(
            address, content=iter([reading("a", 1)[:5], reading("a", 1)[5:]]), headers=kind, timeout=SLOWEST
        ).status_code
        == 202
    )
    with contextlib.suppress(httpx.TransportError):  # the answer may come before all of the body went out
        assert (
            httpx.post(address, content=(b" " * 50_000 for _ in range(10)), headers=kind, timeout=SLOWEST).status_code
            == 413
        )
    assert len(gateway.records(stream)) == 1


def _open(gateway: Gateway, stream: str, announced: int) -> socket.socket:
    """A request whose body never comes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=SLOWEST)
    head = f"POST /v1/streams/{stream}/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    connection.sendall(f"{head}content-length: {announced}\r\n\r\n{{".encode())
    return connection


def test_a_slow_body_is_ended_and_bytes_in_flight_are_bounded(gateway: Gateway) -> None:
    stream = gateway.stream("gw_slow")
    with _open(gateway, stream, 90_000) as one, _open(gateway, stream, 90_000) as other:
        eventually(lambda: gateway.ready()["in_flight"]["bytes"] > 180_000, 20, "two bodies in flight")
        crowded = gateway.post(stream, b" " * 50_000 + reading("a", 1))
        assert (crowded.status_code, crowded.json()["type"]) == (503, "urn:sluice:problem:overloaded")
        assert crowded.headers["retry-after"] == "1"
        assert one.recv(1000).startswith(b"HTTP/1.1 408")
        assert other.recv(1000).startswith(b"HTTP/1.1 408")
    eventually(lambda: gateway.ready()["in_flight"]["bytes"] == 0, 20, "nothing is held")
    assert gateway.post(stream, reading("a", 1)).status_code == 202


def test_a_missing_topic_is_said_and_found_when_it_is_there(gateway: Gateway) -> None:
    stream = gateway.stream("gw_late", topic=False)
    answer = gateway.post(stream, reading("a", 1))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sluice:problem:topic-missing")
    assert gateway.ready()["status"] == "degraded"
    gateway.make_topic(stream)
    assert eventually(lambda: gateway.post(stream, reading("a", 1)).status_code == 202, 20)
    gateway.await_status("ready")


class Ledger:
    """A client that keeps sending events with ids of its own until it is told to stop, and notes what was acknowledged."""

    def __init__(self, gateway: Gateway, stream: str) -> None:
        self.acknowledged: set[str] = set()
        self.statuses: list[int] = []
        self._gateway = gateway
        self._stream = stream

    async def run(self, until: Callable[[], bool], senders: int = 8) -> None:
        async with httpx.AsyncClient(timeout=SLOWEST) as client:
            await asyncio.gather(*(self._send(client, sender, until) for sender in range(senders)))

    async def _send(self, client: httpx.AsyncClient, sender: int, until: Callable[[], bool]) -> None:
        address = f"{self._gateway.url}/v1/streams/{self._stream}/events"
        number = 0
        while not until():
            body = b"\n".join(reading(f"{sender}", number * 10 + i) for i in range(10))
            try:
                answer = await client.post(
                    address, content=body, headers=LINES | {"idempotency-key": f"{sender}:{number}"}
                )
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            self.statuses.append(answer.status_code)
            if answer.status_code == 202:
                self.acknowledged |= {event["id"] for event in answer.json()["events"]}
                number += 1
            else:
                await asyncio.sleep(0.05)

    def check(self) -> None:
        held = {r.headers["ce_id"].decode() for r in self._gateway.records(self._stream)}
        assert self.acknowledged
        assert self.acknowledged <= held


def test_a_paused_broker_is_told_at_once_and_forgiven(gateway: Gateway, stack: Stack) -> None:
    stream = gateway.stream("gw_paused")
    stack.kill("kafka", signal.SIGSTOP)
    try:
        gateway.await_status("unready")
        answer = gateway.post(stream, reading("a", 1))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "Kafka" in answer.json()["detail"]
    finally:
        stack.kill("kafka", signal.SIGCONT)
    gateway.await_status("ready")
    assert gateway.post(stream, reading("a", 2)).status_code == 202
    assert reading("a", 2) in [r.value for r in gateway.records(stream)]


def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(gateway: Gateway, stack: Stack) -> None:
    stream = gateway.stream("gw_killed")
    ledger = Ledger(gateway, stream)

    async def run() -> None:
        enough = asyncio.Event()
        sending = asyncio.create_task(ledger.run(enough.is_set))
        await _until(lambda: len(ledger.acknowledged) > 500)
        pid = stack.pid("kafka")
        stack.kill("kafka", signal.SIGKILL)
        await asyncio.to_thread(stack.await_ready, "kafka", pid)
        before = len(ledger.acknowledged)
        await _until(lambda: len(ledger.acknowledged) > before + 500)
        enough.set()
        await sending

    asyncio.run(run())
    ledger.check()
    gateway.await_status("ready")


def test_a_stop_under_load_finishes_what_is_under_way(stack: Stack, tmp_path: Path) -> None:
    with running_gateway(stack, tmp_path) as own:
        stream = own.stream("gw_stopped")
        ledger = Ledger(own, stream)

        async def run() -> None:
            ended = asyncio.Event()
            sending = asyncio.create_task(ledger.run(ended.is_set))
            await _until(lambda: len(ledger.acknowledged) > 500)
            own.process.terminate()
            await asyncio.to_thread(own.process.wait, patient(40))
            ended.set()
            await sending

        asyncio.run(run())
        assert set(ledger.statuses) == {202}
        ledger.check()


async def _until(condition: Callable[[], bool], limit: float = 60) -> None:
    async with asyncio.timeout(patient(limit)):
        while not condition():  # noqa: ASYNC110 - the condition is another process's
            await asyncio.sleep(0.02)
