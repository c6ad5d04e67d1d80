"""Clients that are slow, loud or many, against a gateway process of its own with a real Kafka."""

import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import SLOWEST, Gateway, Keys, reading, running_gateway
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack
MOST = 20


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    contracts = tmp_path_factory.mktemp("contracts")
    with running_gateway(stack, contracts, max_connections=str(MOST)) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Where nobody is ever in time who does not send at once: for those alone who mean to be late."""
    with running_gateway(stack, tmp_path_factory.mktemp("contracts"), header_timeout="2") as running:
        yield running


def connect(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=SLOWEST)


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the problem that come before the end of the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    document: dict[str, Any] = json.loads(body)
    status = int(head.split()[1])
    assert document["status"] == status
    assert document["request_id"]
    return status, document


def post(stream: str, body: bytes, more: str = "") -> bytes:
    head = f"POST /v1/streams/{stream}/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def test_headers_that_do_not_come_end_the_connection(impatient: Gateway) -> None:
    with connect(impatient) as silent, connect(impatient) as slow:
        slow.sendall(b"POST /v1/streams/x/events HTTP/1.1\r\nhost:")
        status, problem = answer_on(slow)
        assert (status, problem["type"]) == (408, "urn:sluice:problem:slow-headers")
        assert silent.recv(100) == b""


def test_a_trickle_of_headers_is_no_way_around(impatient: Gateway) -> None:
    """Also on a connection that had a good request before."""
    stream = impatient.stream("gw_trickle")
    with connect(impatient) as connection:
        connection.sendall(post(stream, reading("a", 1)))
        found = b""
        while not found.endswith(b"]}"):
            found += connection.recv(65536)
        assert found.startswith(b"HTTP/1.1 202")
        connection.sendall(b"POST / HTTP/1.1\r\n")
        connection.settimeout(0.1)

        def told() -> bytes:
            connection.sendall(b"x: y\r\n")
            with contextlib.suppress(TimeoutError):
                return connection.recv(65536)
            return b""

        assert eventually(told, 20, "408").startswith(b"HTTP/1.1 408")


def test_headers_without_end_are_refused(gateway: Gateway) -> None:
    with connect(gateway) as loud:
        loud.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: %b\r\n" % (b"y" * 1000) * 70)
        status, problem = answer_on(loud)
        assert (status, problem["type"]) == (431, "urn:sluice:problem:headers-too-large")
    with connect(gateway) as fine:
        fine.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: " + b"y" * 30_000 + b"\r\n\r\n")
        assert fine.recv(100).startswith(b"HTTP/1.1 200")
    assert gateway.process.poll() is None


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_not_http_gets_a_problem_too(gateway: Gateway, sent: bytes) -> None:
    with connect(gateway) as connection:
        connection.sendall(sent)
        status, problem = answer_on(connection)
        assert (status, problem["type"]) == (400, "urn:sluice:problem:not-http")


def test_two_lengths_are_refused(gateway: Gateway) -> None:
    """What a proxy and the gateway may read as different requests."""
    for lengths in (
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
    ):
        with connect(gateway) as connection:
            connection.sendall(f"POST /v1/streams/x/events HTTP/1.1\r\nhost: x\r\n{lengths}\r\n0\r\n\r\n".encode())
            assert answer_on(connection)[0] == 400


def test_connections_are_bounded_and_come_back(gateway: Gateway) -> None:
    stream = gateway.stream("gw_crowd")
    eventually(lambda: gateway.metric("sluice_gateway_connections") == 1, 20, "nobody else is connected")
    held = [connect(gateway) for _ in range(MOST)]
    try:
        for connection in held:  # a good request each, so that they are neither silent nor slow
            connection.sendall(post(stream, reading("a", 1)))
        first = [connection.recv(65536) for connection in held]
        taken = sum(answer.startswith(b"HTTP/1.1 202") for answer in first)
        assert taken == MOST
        with connect(gateway) as late, connect(gateway) as later:
            for refused in (late, later):
                status, problem = answer_on(refused)
                assert (status, problem["type"]) == (503, "urn:sluice:problem:too-many-connections")
    finally:
        for connection in held:
            connection.close()
    assert eventually(lambda: _status(gateway) == 200, 10)


def test_connections_of_one_address_are_bounded_and_those_of_others_are_not(stack: Stack, tmp_path: Path) -> None:
    def come(gateway: Gateway, address: str) -> socket.socket:
        host, port = gateway.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=SLOWEST, source_address=(address, 0))

    with contextlib.ExitStack() as held:
        gateway = held.enter_context(
            running_gateway(
                stack, tmp_path, max_connections_by_address="3", trusted_proxies="127.0.0.9", header_timeout="60"
            )
        )
        eventually(lambda: gateway.metric("sluice_gateway_connections") == 1, 20)
        own = [held.enter_context(come(gateway, "127.0.0.2")) for _ in range(3)]
        with come(gateway, "127.0.0.2") as fourth:
            status, problem = answer_on(fourth)
            assert (status, problem["type"]) == (429, "urn:sluice:problem:connections-of-address")
        for address in ("127.0.0.3", *["127.0.0.9"] * 5):  # the last are a proxy's
            other = held.enter_context(come(gateway, address))
            other.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert other.recv(100).startswith(b"HTTP/1.1 200")
        own[0].close()
        eventually(lambda: gateway.metric("sluice_gateway_connections") == 9, 20)
        again = held.enter_context(come(gateway, "127.0.0.2"))
        again.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert again.recv(100).startswith(b"HTTP/1.1 200")


def _status(gateway: Gateway) -> int:
    try:
        return httpx.get(f"{gateway.url}/healthz", timeout=SLOWEST).status_code
    except httpx.TransportError:
        return 0


def test_a_body_that_goes_on_after_the_answer_is_cut(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"POST /v1/streams/nope/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        _trickle_until_cut(connection)


def test_who_does_not_read_the_answer_is_cut(gateway: Gateway) -> None:
    stream = gateway.stream("gw_deaf")
    body = b"\n".join([b"{}"] * 9000)
    with connect(gateway) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        more = "content-type: application/x-ndjson\r\n"
        asked = post(stream, body).replace(b"content-type: application/json\r\n", more.encode())
        connection.sendall(asked * 8)  # more megabytes of verdicts than the system buffers, of which none is read
        eventually(lambda: _cut(connection), 30, "cut off")


def _cut(connection: socket.socket) -> bool:
    """Whether the other side ended it, without reading what it sent."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def _trickle_until_cut(connection: socket.socket) -> None:
    def sent() -> bool:
        try:
            connection.sendall(b" ")
        except OSError:
            return True
        return False

    eventually(sent, 30, "cut off")


@pytest.fixture(scope="module")
def limited(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Keys]]:
    keys = Keys(tmp_path_factory.mktemp("keys") / "keys.json")
    keys.path.parent.mkdir(exist_ok=True)
    with running_gateway(
        stack, tmp_path_factory.mktemp("contracts"), keys, workers="3", rate_limit_by_key="40/day",
        rate_limit_by_address="25/day", trusted_proxies="127.0.0.0/8",
    ) as running:  # fmt: skip
        yield running, keys


def test_all_workers_count_together(limited: tuple[Gateway, Keys]) -> None:
    gateway, keys = limited
    stream = gateway.stream("gw_rates")
    _, header = keys.add(f"submit:{stream}")
    gateway.await_status("ready")
    eventually(lambda: time.time() % 86_400 < 86_280, 30, "no day ends in the next two minutes")

    def asked(times: int, headers: dict[str, str]) -> Counter[int]:
        answers = [gateway.post(stream, reading("a", 1), headers) for _ in range(times)]
        for answer in answers:
            assert {"ratelimit", "ratelimit-policy"} <= answer.headers.keys(), answer.text
            assert answer.status_code == 202 or int(answer.headers["retry-after"]) > 0
            assert answer.status_code == 202 or answer.json()["type"] == "urn:sluice:problem:rate-limited"
        return Counter(answer.status_code for answer in answers)

    # A proxy that is trusted says who asks; each of them has a limit of its own.
    for address in ("203.0.113.1", "203.0.113.2"):
        assert asked(30, {"x-forwarded-for": f"198.51.100.7, {address}"}) == {202: 25, 429: 5}
    found = asked(45, header)
    assert set(found) == {202, 429}
    assert found[202] == 40
    wrong = {"authorization": "Bearer sluice_000000000000_" + "x" * 43, "x-forwarded-for": "203.0.113.3"}
    guesses = Counter(gateway.post(stream, b"{}", wrong).status_code for _ in range(30))
    assert guesses == {401: 25, 429: 5}
    assert (
        httpx.get(f"{gateway.url}/healthz", headers={"x-forwarded-for": "203.0.113.3"}, timeout=SLOWEST).status_code
        == 200
    )
    page = httpx.get(f"{gateway.url}/v1/streams", headers={"x-forwarded-for": "203.0.113.3"}, timeout=SLOWEST)
    assert page.status_code == 429
    refused = 'sluice_gateway_request_seconds_count{status="429"}'  # a worker may count after it has answered
    eventually(lambda: gateway.metric(refused) >= 20, 20, "all refusals are counted")
    assert gateway.metric(refused) == 20


def test_who_was_turned_away_is_counted(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert answer_on(connection)[0] == 400
    eventually(lambda: gateway.metric('sluice_gateway_turned_away_total{reason="not-http"}') > 0, 20, "counted")
    eventually(lambda: gateway.metric("sluice_gateway_connections") == 1, 20, "only who asks is connected")


def test_no_limit_no_headers(gateway: Gateway, tmp_path: Path) -> None:
    stream = gateway.stream("gw_free")
    assert "ratelimit" not in gateway.post(stream, reading("a", 1)).headers
