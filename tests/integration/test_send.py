"""`sluice send` against a real gateway and broker: what arrives, what is told, and what a kill in the middle leaves."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import TopicPartition

from catalog import kafka_client
from catalog.settings import LakeSettings
from infra.demo.generate import orders, write_ndjson
from tests.stack import Stack, ending_with_us, eventually, free_port, patient

pytestmark = pytest.mark.stack


def fresh_orders(count: int) -> list[dict[str, Any]]:
    """Orders that no other test sends."""
    made = list(orders(count, seed=uuid.uuid4().int % 2**32))
    return [{**order, "order_id": str(uuid.uuid4()), "product_id": "WHEY001", "quantity": 1} for order in made]


@dataclass
class Tail:
    """What came into a topic since this was made: event id → payloads, in Kafka's order."""

    lake: LakeSettings
    topic: str
    start: dict[TopicPartition, int] = field(default_factory=dict)

    async def _consume(
        self, start: dict[TopicPartition, int]
    ) -> tuple[dict[TopicPartition, int], dict[str, list[bytes]]]:
        async with kafka_client.consumer(self.lake, self.topic) as consumer:
            partitions = consumer.assignment()
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            found: dict[str, list[bytes]] = {}
            for partition in partitions:
                consumer.seek(partition, start.get(partition, ends[partition]))
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        name = dict(record.headers)["ce_id"].decode()
                        found.setdefault(name, []).append(record.value)
            return ends, found

    def mark(self) -> "Tail":
        """Begin here."""
        self.start, _ = asyncio.run(self._consume({}))
        return self

    def events(self) -> dict[str, list[bytes]]:
        return asyncio.run(self._consume(self.start))[1]


@pytest.fixture
def tail(stack: Stack) -> Tail:
    return Tail(stack.lake(), "orders").mark()


@contextmanager
def gateway(stack: Stack, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway of the test's own on the stack's broker, which it may kill."""
    environment = {**os.environ, **stack.env(), "SLUICE_GATEWAY_HOST": "127.0.0.1", "SLUICE_GATEWAY_PORT": str(port)}
    process = subprocess.Popen(
        ending_with_us([sys.executable, "-m", "ingest_gateway"]),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_csv_is_typed_by_the_contract(stack: Stack, tail: Tail, tmp_path: Path) -> None:
    name = str(uuid.uuid4())
    (tmp_path / "a.csv").write_text(
        f"Order ID;Product;QUANTITY;timestamp;Unit price\n{name};WHEY001;2;2026-01-01T00:00:00Z;9.50\n"
    )
    done = stack.run("send", str(tmp_path / "a.csv"), "--stream", "orders", "--json")
    assert done.returncode == 0, done.stderr
    assert {key: counts(done)[key] for key in ("read", "accepted", "refused", "format")} == {
        "read": 1, "accepted": 1, "refused": 0, "format": "csv",
    }  # fmt: skip
    rest = '"product_id":"WHEY001","quantity":2,"timestamp":"2026-01-01T00:00:00Z","unit_price":9.50}'
    text = f'{{"order_id":"{name}",{rest}'
    assert [text.encode()] in tail.events().values()


def test_standard_input_keeps_the_bytes(stack: Stack, tail: Tail) -> None:
    order = fresh_orders(1)[0]
    text = json.dumps(order, indent=1).replace("\n", "  ")
    done = stack.run("send", "-", "--stream", "orders", "--id-from", "order_id", "--json", stdin=text + "\r\n\r\n")
    assert done.returncode == 0, done.stderr
    assert tail.events() == {order["order_id"]: [text.encode()]}


def test_refused_records_are_named_with_reasons(stack: Stack, tail: Tail, tmp_path: Path) -> None:
    good, bad = fresh_orders(2)
    lines = [json.dumps(good), json.dumps({**bad, "quantity": 0}), '{"order_id":']
    (tmp_path / "a.ndjson").write_text("\n".join(lines))
    done = stack.run("send", str(tmp_path / "a.ndjson"), "--stream", "orders", "--json")
    assert done.returncode == 3, done.stderr
    assert (counts(done)["accepted"], counts(done)["refused"]) == (1, 2)
    rejected = [json.loads(line) for line in (tmp_path / "a.ndjson.rejected.ndjson").read_text().splitlines()]
    by_position = {entry["position"]: entry for entry in rejected}
    assert by_position["line 2"]["errors"][0]["pointer"] == "/quantity"
    assert by_position["line 2"]["record"]["order_id"] == bad["order_id"]
    assert by_position["line 3"]["text"] == '{"order_id":'
    assert "is not JSON" in by_position["line 3"]["errors"][0]["message"]
    assert len(tail.events()) == 1
    # Mended, the file is taken, and the reasons of the last time are gone.
    (tmp_path / "a.ndjson").write_text("\n".join([json.dumps(good), json.dumps(bad)]))
    assert stack.run("send", str(tmp_path / "a.ndjson"), "--stream", "orders").returncode == 0
    assert not (tmp_path / "a.ndjson.rejected.ndjson").exists()


def test_a_resend_has_the_same_ids_whatever_the_batch(stack: Stack, tail: Tail, tmp_path: Path) -> None:
    made = fresh_orders(300)
    write_ndjson([*made, *made[:20]], tmp_path / "a.ndjson")
    for batch in ("7", "500"):
        stack.sluice("send", str(tmp_path / "a.ndjson"), "--stream", "orders", "--batch", batch)
    found = tail.events()
    assert len(found) == 320
    assert {len(payloads) for payloads in found.values()} == {2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.csv", "--stream", "orders"), "missing.csv cannot be read: No such file or directory"),
        (("-", "--stream", "nowhere", "--format", "ndjson"), "answered 404"),
        (("-", "--stream", "nowhere", "--format", "csv"), "typed by the stream's contract"),
        (("-", "--stream", "orders", "--format", "xlsx"), "--format xlsx: expected one of csv"),
        (("-", "--stream", "orders", "--id-from", "number"), "orders has no such column; it has order_id"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(stack: Stack, arguments: tuple[str, ...], message: str) -> None:
    done = stack.run("send", *arguments, stdin='{"a":1}\n')
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_that_comes_later_gets_everything(stack: Stack, tail: Tail, tmp_path: Path) -> None:
    made = fresh_orders(50)
    write_ndjson(made, tmp_path / "a.ndjson")
    port = free_port()
    with sending(stack, tmp_path / "a.ndjson", port, patience=300) as send:
        eventually(lambda: "nothing answers there; next try in" in send.said(), what="word of the gateway's absence")
        with gateway(stack, port):
            assert send.process.wait(patient(60)) == 0, send.said()
    assert set(tail.events()) == {order["order_id"] for order in made}


def test_a_kill_in_the_middle_loses_nothing_that_was_acknowledged(stack: Stack, tail: Tail, tmp_path: Path) -> None:
    made = fresh_orders(10_000)
    write_ndjson(made, tmp_path / "a.ndjson")
    port = free_port()
    with gateway(stack, port) as server:
        eventually(lambda: answers(port), what="the gateway")
        with sending(stack, "-", port, patience=2) as send:
            assert send.process.stdin is not None
            lines = (tmp_path / "a.ndjson").read_text().splitlines(keepends=True)
            send.process.stdin.writelines(lines[: len(lines) // 2])
            send.process.stdin.flush()
            eventually(tail.events, what="the first records")
            server.send_signal(signal.SIGKILL)
            server.wait()
            with suppress(BrokenPipeError):  # it gives up before it has read them all
                send.process.stdin.writelines(lines[len(lines) // 2 :])
                send.process.stdin.close()
            assert send.process.wait(patient(60)) == 1, send.said()
            told = json.loads(send.printed())
    arrived = set(tail.events())
    assert 0 < told["taken"] < len(made)
    assert told["taken"] <= len(arrived)
    assert f"{told['taken']:,} of the {told['read']:,} records read so far were acknowledged" in send.said()
    with gateway(stack, port):
        eventually(lambda: answers(port), what="the gateway")
        with sending(stack, tmp_path / "a.ndjson", port, patience=300) as send:
            assert send.process.wait(patient(120)) == 0, send.said()
    assert set(tail.events()) == {order["order_id"] for order in made}


@dataclass
class Sending:
    """A `sluice send` under way; its output is read along, so that it never waits for a full pipe."""

    process: subprocess.Popen[str]
    lines: dict[str, list[str]] = field(default_factory=lambda: {"stdout": [], "stderr": []})
    readers: list[threading.Thread] = field(default_factory=list)

    def listen(self) -> None:
        for name in self.lines:
            thread = threading.Thread(target=self._read, args=(name,), daemon=True)
            thread.start()
            self.readers.append(thread)

    def _read(self, name: str) -> None:
        self.lines[name].extend(iter(getattr(self.process, name).readline, ""))

    def end(self) -> None:
        """Close the pipes of a process that has ended."""
        for name, thread in zip(self.lines, self.readers, strict=True):
            thread.join(10)
            getattr(self.process, name).close()

    def said(self) -> str:
        """Standard error so far, all of it once the process has ended."""
        return self._text("stderr")

    def printed(self) -> str:
        return self._text("stdout")

    def _text(self, name: str) -> str:
        if self.process.poll() is not None:
            for thread in self.readers:
                thread.join(10)
        return "".join(self.lines[name])


@contextmanager
def sending(stack: Stack, file: Path | str, port: int, patience: float) -> Iterator[Sending]:
    """Of a file, or of what is written to its input (`-`)."""
    process = stack.popen(
        "send", str(file), "--stream", "orders", "--id-from", "order_id", "--json", "--format", "ndjson",
        "--url", f"http://127.0.0.1:{port}", "--patience", str(patience),
        stdin=subprocess.PIPE if file == "-" else subprocess.DEVNULL,
    )  # fmt: skip
    found = Sending(process)
    found.listen()
    try:
        yield found
    finally:
        process.kill()
        process.wait()
        found.end()


def test_a_resend_of_a_whole_file_adds_no_row(stack: Stack, tmp_path: Path) -> None:
    made = fresh_orders(200)
    write_ndjson(made, tmp_path / "a.ndjson")
    ids = ", ".join(f"'{order['order_id']}'" for order in made)

    def rows(layer: str, more: str = "") -> int:
        where = (
            f"order_id in ({ids})"
            if layer == "silver"
            else f"json_extract_scalar(from_utf8(payload), '$.order_id') in ({ids})"
        )
        return int(
            json.loads(stack.sluice("sql", f"select count(*) as n from {layer}.orders where {where} {more}", "--json"))[
                0
            ]["n"]
        )

    stack.sluice("send", str(tmp_path / "a.ndjson"), "--stream", "orders")
    eventually(lambda: rows("silver") == 200, what="200 rows in silver")
    stack.sluice("send", str(tmp_path / "a.ndjson"), "--stream", "orders")
    eventually(lambda: rows("bronze") == 400, what="400 rows in bronze")
    # Rows behind the resend in both partitions are in silver, so the resend has been judged.
    behind = fresh_orders(40)
    write_ndjson(behind, tmp_path / "b.ndjson")
    stack.sluice("send", str(tmp_path / "b.ndjson"), "--stream", "orders")
    names = ", ".join(f"'{order['order_id']}'" for order in behind)
    count: Callable[[str], list[dict[str, Any]]] = lambda query: list(json.loads(stack.sluice("sql", query, "--json")))  # noqa: E731
    eventually(
        lambda: count(f"select count(*) as n from silver.orders where order_id in ({names})")[0]["n"] == 40,
        what="the rows behind",
    )
    assert rows("silver") == 200
    doubled = count(
        f"select order_id, count(*) as n from silver.orders where order_id in ({ids}) group by 1 having count(*) > 1"
    )
    assert Counter(row["order_id"] for row in doubled) == Counter()
