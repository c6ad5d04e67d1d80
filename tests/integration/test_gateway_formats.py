"""What a body may look like, with a real Kafka: what was received is what the topic holds, byte for byte."""

import gzip
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.gateway import LINES, SLOWEST, Gateway, reading, running_gateway
from tests.stack import Stack, eventually

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.stack
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(
        stack, tmp_path_factory.mktemp("contracts"), max_body_bytes="1000000", max_in_flight_bytes="3000000"
    ) as running:
        yield running


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_compressed_bodies_are_taken_and_kept_decompressed(gateway: Gateway, encoding: str) -> None:
    stream = gateway.stream(f"gw_packed_{encoding}")
    sent = [reading(f"s{i}", i) for i in range(3000)]
    packed = PACK[encoding](b"\n".join(sent))
    head = LINES | {"content-encoding": encoding, "idempotency-key": "k"}
    answer = gateway.post(stream, packed, head)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3000)
    assert sorted(r.value for r in gateway.records(stream)) == sorted(sent)
    event = {"content-encoding": encoding, "ce-specversion": "1.0", "ce-id": "e", "ce-source": "/s", "ce-type": "t"}
    assert gateway.post(stream, PACK[encoding](sent[0]), event).status_code == 202
    form = {"content-encoding": encoding, "content-type": "application/x-www-form-urlencoded"}
    assert gateway.post(stream, PACK[encoding](b"sensor=a&value=1"), form).status_code == 202


@pytest.mark.parametrize("encoding", sorted(PACK))
def test_bombs_and_broken_bodies_leave_nothing_behind(gateway: Gateway, encoding: str) -> None:
    stream = gateway.stream(f"gw_bomb_{encoding}")
    good, head = PACK[encoding](reading("a", 1)), {"content-encoding": encoding}
    for body, status in (
        (PACK[encoding](b" " * 800_000 + reading("a", 1)), 202),
        (PACK[encoding](b" " * (100 << 20)), 413),
        (PACK[encoding](b" " * 1_000_001), 413),
        (good[:-1], 400),
        (good + b"x", 400),
        (reading("a", 1), 400),
        (b"", 400),
    ):
        answer = gateway.post(stream, body, head)
        assert answer.status_code == status, answer.text
        assert status == 202 or answer.headers["content-type"] == "application/problem+json"
    assert len(gateway.records(stream)) == 1
    eventually(lambda: gateway.ready()["in_flight"]["bytes"] == 0, 20, "nothing is held")


def test_other_encodings_are_told_what_is_taken(gateway: Gateway) -> None:
    stream = gateway.stream("gw_encoding")
    answer = gateway.post(stream, reading("a", 1), {"content-encoding": "br"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, zstd, identity")


def test_a_compressed_body_may_come_in_chunks(gateway: Gateway) -> None:
    stream = gateway.stream("gw_packed_chunks")
    packed = gzip.compress(reading("a", 1))
    head = {"content-type": "application/json", "content-encoding": "gzip"}
    address = f"{gateway.url}/v1/streams/{stream}/events"
    assert httpx.post(address, content=iter([packed[:7], packed[7:]]), headers=head, timeout=SLOWEST).status_code == 202
    assert [r.value for r in gateway.records(stream)] == [reading("a", 1)]


# What is odd and taken. Bronze holds what the topic holds; so it must be these very bytes.
ODD = [
    b'  {"sensor":"a","value":1}  ',
    b'{"sensor":"a","value":1,"value":2}',
    b'{"sensor":"a\\u0000b","value":1}',
    b'{"sensor":"a\x7f\xc2\x85\xe2\x80\xa8\xef\xbf\xbf","value":1}',
    b'{"sensor":"\\ud83d\\ude00\xf0\x9f\x98\x80","value":1}',
    b'{"sensor":"a","value":-9223372036854775808}',
    b'{"sensor":"a","value":1e2}',
    b'{"sensor":"a","value":1.000000000000000000000}',
    b'{"sensor":"a","value":1,"other":123456789012345678901234567890.123e-7}',
    b'{"sensor":"a","value":1,"other":' + b"[" * 63 + b"]" * 63 + b"}",
    b'{"\\u0073ensor":"a","value":1,"":{"":null}}',
]


@pytest.mark.parametrize("payload", ODD, ids=range(len(ODD)))
def test_odd_events_are_kept_byte_for_byte(gateway: Gateway, payload: bytes) -> None:
    stream = gateway.stream("gw_odd")
    envelope = b'{"specversion":"1.0","id":"e","source":"/s","type":"t","data":' + payload + b"}"
    for body, headers in (
        (payload, {}),
        (payload, LINES),
        (b"[" + payload + b"]", {}),
        (envelope, {"content-type": "application/cloudevents+json"}),
        (b"[" + envelope + b"]", {"content-type": "application/cloudevents-batch+json"}),
        (payload, {"ce-specversion": "1.0", "ce-id": "b", "ce-source": "/s", "ce-type": "t"}),
    ):
        assert gateway.post(stream, body, headers).status_code == 202
    assert {record.value.strip(b" ") for record in gateway.records(stream)} == {payload.strip(b" ")}
    assert len(gateway.records(stream)) == 6


def test_counts_are_enough_for_some(gateway: Gateway) -> None:
    stream = gateway.stream("gw_summary")
    address = f"{gateway.url}/v1/streams/{stream}/events"
    body = b"\n".join([reading("a", 1), b"{}", reading("a", 2)])
    for query, prefer, counted, applied in (
        ("", {}, False, None),
        ("?verdicts=summary", {}, True, None),
        ("?verdicts=each", {"prefer": "return=minimal"}, False, None),
        ("", {"prefer": "respond-async, wait=10"}, True, "respond-async"),
        ("", {"prefer": "handling=lenient, Return=Minimal; a=b"}, True, "return=minimal"),
        ("", {"prefer": "return=representation"}, False, None),
    ):
        answer = httpx.post(address + query, content=body, headers=LINES | prefer, timeout=SLOWEST)
        told = {"stream": stream, "accepted": 2, "refused": 1}
        assert answer.status_code == 207
        assert ("events" not in answer.json()) is counted
        assert {name: value for name, value in answer.json().items() if name != "events"} == told
        assert answer.headers.get("preference-applied") == applied
    assert httpx.post(f"{address}?verdicts=few", content=body, headers=LINES, timeout=SLOWEST).status_code == 400
    assert len(gateway.records(stream)) == 12


def test_the_trace_goes_on_in_the_records(gateway: Gateway) -> None:
    stream = gateway.stream("gw_trace")
    parent, zeros = f"00-{'4bf92f3577b34da6' * 2}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"
    for number, trace in enumerate(
        (
            {"traceparent": parent, "tracestate": "vendor=1,other=2"},
            {"traceparent": parent, "tracestate": "x" * 600},
            {"tracestate": "vendor=1"},
            {"traceparent": zeros},
            {"traceparent": "nonsense"},
            {"traceparent": parent.replace("00-", "ff-", 1)},
        )
    ):
        assert gateway.post(stream, reading("a", number), trace).status_code == 202
    held = {r.value: {n: v for n, v in r.headers.items() if n.startswith("trace")} for r in gateway.records(stream)}
    assert [held[reading("a", number)] for number in range(6)] == [
        {"traceparent": parent.encode(), "tracestate": b"vendor=1,other=2"}, {"traceparent": parent.encode()}, {}, {}, {}, {},
    ]  # fmt: skip
    gateway.post(stream, b"{", {"traceparent": parent})
    assert f'"trace_id":"{parent[3:35]}"' in gateway.log.read_text()
