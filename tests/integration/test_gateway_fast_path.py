"""The usual request takes a way of its own: whatever is sent, the answer is the one that the application gives."""

import json
import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.gateway import SLOWEST, Gateway, reading, running_gateway
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack

GOOD, BAD = reading("a", 1), b'{"sensor": 7}'
NDJSON, CLOUDEVENT = "application/x-ndjson", "application/cloudevents+json"
IN_HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-type": "t"}
FIELD = b'--x\r\ncontent-disposition: form-data; name="sensor"\r\n\r\na\r\n--x--\r\n'
ENVELOPE = b'{"specversion":"1.0","id":"e-1","source":"/x","type":"t","data":{"sensor":"a","value":1}}'
REQUESTS = {
    "one": (GOOD, "application/json", {}),
    "of no said type": (GOOD, None, {}),
    "an array": (b"[" + GOOD + b"," + BAD + b"]", "application/json", {}),
    "lines": (GOOD + b"\n" + GOOD, NDJSON, {}),
    "lines, one of them broken": (GOOD + b"\n{", NDJSON, {}),
    "none that is good": (BAD, "application/json", {}),
    "no JSON": (b"{", "application/json", {}),
    "nothing": (b"", "application/json", {}),
    "a cloud event": (ENVELOPE, CLOUDEVENT, {}),
    "a cloud event in headers": (GOOD, "application/json", IN_HEADERS),
    "a form": (b"sensor=a&value=3", "application/x-www-form-urlencoded", {}),
    "a form in parts": (FIELD, "multipart/form-data; boundary=x", {}),
    "a type that is not taken": (GOOD, "text/plain", {}),
    "another charset": (GOOD, "application/json; charset=latin-1", {}),
    "a key": (GOOD, "application/json", {"idempotency-key": '"k-1"'}),
    "a key that is none": (GOOD, "application/json", {"idempotency-key": "\u00e9"}),
    "counts only": (GOOD + b"\n" + BAD, NDJSON, {"prefer": "respond-async"}),
    "with a trace": (GOOD, "application/json", {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    "nested too deep": (b"[" * 200 + b"]" * 200, "application/json", {}),
    "a key of which nobody knows": (GOOD, "application/json", {"authorization": "Bearer slk_x_y"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(stack, tmp_path_factory.mktemp("contracts"), read_timeout="2") as running:
        yield running


@pytest.fixture(scope="module")
def stream(gateway: Gateway) -> str:
    return gateway.stream("gw_usual")


def request(stream: str, body: bytes, kind: str | None, more: dict[str, str], version: str = "1.1") -> bytes:
    said = {"host": "x", **({"content-type": kind} if kind else {}), **more, "content-length": str(len(body))}
    lines = "".join(f"{name}: {text}\r\n" for name, text in said.items())
    return f"POST /v1/streams/{stream}/events HTTP/{version}\r\n{lines}\r\n".encode("latin-1") + body


class Wire:
    """A connection, as bytes."""

    def __init__(self, gateway: Gateway) -> None:
        host, port = gateway.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=SLOWEST)
        self._rest = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers and body."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert len(headers) == len(lines), "no header twice"
        length = int(headers["content-length"])
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, body

    def ended(self) -> bool:
        return self.socket.recv(1) == b""

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, "the connection ended before the answer did"
        self._rest += piece


def alike(answer: tuple[int, dict[str, str], bytes]) -> object:
    """An answer without what differs from one to the next."""
    status, headers, body = answer
    text = re.sub(r'"(id|request_id|offset|partition)":("[^"]*"|\d+)', r'"\1":0', body.decode())
    own = {name: text for name, text in headers.items() if name not in ("date", "x-request-id", "content-length")}
    return status, own, text


@pytest.mark.parametrize("name", REQUESTS)
def test_the_answer_is_the_applications(gateway: Gateway, stream: str, name: str) -> None:
    body, kind, more = REQUESTS[name]
    with Wire(gateway) as usual, Wire(gateway) as other:
        usual.socket.sendall(request(stream, body, kind, more))
        other.socket.sendall(request(stream, body, kind, {**more, "origin": "https://pages.example"}))
        assert alike(usual.answer()) == alike(other.answer())


def test_a_body_may_come_in_pieces(gateway: Gateway, stream: str) -> None:
    with Wire(gateway) as wire:
        for piece in re.findall(rb"(?s).{1,7}", request(stream, GOOD + b"\n" + BAD, NDJSON, {})):
            wire.socket.sendall(piece)
        status, _, body = wire.answer()
    assert status == 207
    assert [event["status"] for event in json.loads(body)["events"]] == ["accepted", "refused"]


def test_answers_come_in_the_order_of_the_requests(gateway: Gateway, stream: str) -> None:
    """Also where all are sent at once, and others stand between the usual ones."""
    other = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    with Wire(gateway) as wire:
        keys = [f"p-{number}" for number in range(6)]
        wire.socket.sendall(
            other.join(request(stream, GOOD, "application/json", {"idempotency-key": key}) for key in keys)
        )
        found = [wire.answer() for _ in range(11)]
    assert [json.loads(body)["events"][0]["id"] for _, _, body in found[::2]] == keys
    assert {body for _, _, body in found[1::2]} == {httpx.get(f"{gateway.url}/healthz", timeout=SLOWEST).content}


@pytest.mark.parametrize(("version", "more"), [("1.0", {}), ("1.1", {"connection": "close"})])
def test_a_connection_ends_when_it_is_asked_to(
    gateway: Gateway, stream: str, version: str, more: dict[str, str]
) -> None:
    with Wire(gateway) as wire:
        wire.socket.sendall(request(stream, GOOD, "application/json", more, version))
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (202, "close")
        assert wire.ended()


def test_a_body_that_does_not_come_is_answered_and_what_is_held_for_it_given_back(
    gateway: Gateway, stream: str
) -> None:
    cut = request(stream, GOOD, "application/json", {})[:-3]
    with Wire(gateway) as slow:
        slow.socket.sendall(cut)
        status, headers, body = slow.answer()
        assert (status, json.loads(body)["type"]) == (408, "urn:sluice:problem:slow-body")
        assert headers["connection"] == "close"
        assert slow.ended()
    with Wire(gateway) as gone:
        gone.socket.sendall(cut)

    def held() -> bool:
        lines = gateway.metrics().splitlines()
        kept = {
            line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("sluice_gateway_in_flight")
        }
        return kept != {"sluice_gateway_in_flight_bytes": 0, "sluice_gateway_in_flight_requests": 0}

    eventually(lambda: not held(), 20, "nothing is held")
