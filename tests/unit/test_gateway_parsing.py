"""Bytes to verdicts, without servers: what is an event, what is refused, and that the payload is what was sent."""

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.odcs import load_contract
from ingest_gateway import bodies, cloudevents
from ingest_gateway.bodies import Events
from ingest_gateway.check import Checker, pointer
from ingest_gateway.problems import Problem
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.verdicts import judge, receipt

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: readings
name: readings
version: 2.0.0
status: active
schema:
  - name: readings
    properties:
      - {name: sensor, logicalType: string, required: true, logicalTypeOptions: {maxLength: 10}}
      - {name: value, logicalType: integer, required: true}
      - {name: weight, logicalType: number}
      - {name: at, logicalType: timestamp}
      - {name: mail, logicalType: string, logicalTypeOptions: {format: email}}
"""
GOOD = b'{"sensor": "a", "value":1}'
LIMITS = GatewaySettings()


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    path: Path = tmp_path_factory.mktemp("contracts") / "readings.odcs.yaml"
    path.write_text(CONTRACT)
    return Checker(load_contract(path))


def refusals(events: Events, checker: Checker, limits: GatewaySettings = LIMITS) -> dict[int, list[tuple[str, str]]]:
    found = judge(events, checker, b"\n".join(events.payloads), limits)
    return {index: [(v.pointer, v.message) for v in violations] for index, violations in found.items()}


ODD = [
    (b'{"sensor":"a","value":NaN}', False),
    (b'{"sensor":"a","value":Infinity}', False),
    (b'{"sensor":"a","value":1e400}', False),
    (b'{"sensor":"a","value":1,"other":1e400}', False),
    (b'{"sensor":"a","value":1,"value":2}', True),  # the last one counts
    (b'{"sensor":"a","value":1,"value":"x"}', False),
    (b'{"sensor":"a\\u0000","value":1}', True),
    (b'{"sensor":"a\x00","value":1}', False),
    (b'{"sensor":"\\ud800","value":1}', False),
    (b'{"sensor":"\\ud83d\\ude00","value":1}', True),
    (b'{"sensor":"\xff","value":1}', False),
    (b'{"sensor":"\xed\xa0\x80","value":1}', False),
    (b'\xef\xbb\xbf{"sensor":"a","value":1}', False),
    (b'{"sensor":"a","value":9223372036854775807}', True),
    (b'{"sensor":"a","value":9223372036854775808}', False),
    (b'{"sensor":"a","value":-9223372036854775809}', False),
    (b'{"sensor":"a","value":1,"other":123456789012345678901234567890}', True),
    (b'{"sensor":"a","value":18446744073709551616}', False),
    (b'{"sensor":"a","value":1,"other":' + b"1" * 400 + b"}", True),
    (b'{"sensor":"a","value":1,"weight":' + b"1" * 300 + b"}", True),
    (b'{"sensor":"a","value":1,"weight":' + b"1" * 400 + b"}", False),
    (b'{"sensor":"a","value":1,"other":' + b"1" * 5000 + b"}", False),
    (b'{"sensor":"a","value":1e2}', True),
    (b'{"sensor":"a","value":1E+2}', True),
    (b'{"sensor":"a","value":1e-2}', False),
    (b'{"sensor":"a","value":1e19}', False),
    (b'{"sensor":"a","value":-0}', True),
    (b'{"sensor":"a","value":0e999999999}', True),
    (b'{"sensor":"a","value":1,"weight":1e-400}', True),  # 0 to a double
    (b'{"sensor":"a","value":01}', False),
    (b'{"sensor":"a","value":+1}', False),
    (b'{"sensor":"a","value":1.}', False),
    (b'{"sensor":"a","value":.5}', False),
    (b'{"sensor":"a","value":0x1}', False),
    (b'{"sensor":"a","value":-Infinity}', False),
    (b'{"sensor":"a","value":1,}', False),
    (b'{"sensor":"a","value":1}//', False),
    (b'{"sensor":"a\\u007f\xc2\x85\xe2\x80\xa8","value":1}', True),  # only C0 controls are forbidden by JSON
    (b'{"sensor":"a","value":1,"\\ud800":1}', False),
    (b'{"sensor":"\\udc00\\ud800","value":1}', False),
    (b'{"sensor":"\xc0\xaf","value":1}', False),  # an overlong form
    (b'{"sensor":"\xf4\x90\x80\x80","value":1}', False),  # beyond U+10FFFF
    (b'{"sensor":"\xef\xbf\xbf","value":1}', True),  # a noncharacter is a character
    (b'{"sensor":"a","value":3.0}', True),
    (b'{"sensor":"a","value":3.5}', False),
    (b'{"sensor":"a","value":true}', False),
    (b'{"sensor":"a","value":"1"}', False),
    (b'{"sensor":"a","value":null}', False),
    (b'{"sensor":"a","value":1,"at":null}', True),
    (b'{"sensor":"a","value":1,"at":"yesterday"}', False),
    (b'{"sensor":"a","value":1,"mail":"no mail"}', False),
    (b'{"sensor":"a","value":1,"other":' + b"[" * 63 + b"]" * 63 + b"}", True),
    (b'{"sensor":"a","value":1,"other":' + b"[" * 64 + b"]" * 64 + b"}", False),
    (b'{"sensor":"a","value":1,"other":' + b"[" * 5000 + b"]" * 5000 + b"}", False),
    (b'{"sensor":"a","value":1,"other":"' + b"[" * 5000 + b'"}', True),
    (b"42", False),
    (b"null", False),
    (b'"text"', False),
    (b"{'sensor':1}", False),
    (b'{"sensor":"a","value":1} {}', False),
]


@pytest.mark.parametrize(("payload", "good"), ODD, ids=[payload[:50].decode("latin-1") for payload, _ in ODD])
def test_odd_input_has_a_defined_outcome_on_a_line_and_spoils_no_neighbour(
    payload: bytes, good: bool, checker: Checker
) -> None:
    events = bodies.line_events(b"\n".join([GOOD, payload, GOOD]), 10)
    assert events.payloads == [GOOD, payload, GOOD]
    assert set(refusals(events, checker)) == (set() if good else {1})


def test_refusals_point_at_what_is_wrong(checker: Checker) -> None:
    events = bodies.json_events(b'{"sensor":"much too long","value":"x","at":"never"}', 10)
    found = refusals(events, checker)[0]
    assert {where for where, _ in found} == {"/sensor", "/value", "/at"}
    assert refusals(bodies.json_events(b"{}", 10), checker)[0] == [
        ("/sensor", "is required"),
        ("/value", "is required"),
    ]
    assert pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"


def test_array_elements_keep_their_own_bytes(checker: Checker) -> None:
    first, second = b'{ "sensor" : "\\u0061","value":1.0 }', b'{"value":2,\n"sensor":"b"}'
    events = bodies.json_events(b" [ " + first + b" ,\n" + second + b"\t]\n", 10)
    assert events.payloads == [first, second]
    assert refusals(events, checker) == {}


def test_lines_end_with_lf_or_crlf_and_blank_ones_are_nothing() -> None:
    assert bodies.lines(b"\r\n" + GOOD + b"\r\n\n  \n" + GOOD, 2) == [GOOD, GOOD]
    assert bodies.lines(b"", 2) == []


def test_one_object_keeps_the_bytes_around_it() -> None:
    assert bodies.json_events(b" " + GOOD + b"\n", 1).payloads == [b" " + GOOD + b"\n"]


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"[1,", b"[{}", b'{"a":\xff}', b"[" * 5000, b"[1]x"])
def test_a_body_that_cannot_be_split_is_a_problem(body: bytes) -> None:
    with pytest.raises(Problem) as raised:
        bodies.json_events(body, 10)
    assert raised.value.status == 400


def test_too_many_events_are_a_problem_before_they_cost_memory() -> None:
    for read, body in (
        (bodies.json_events, b"[" + b"1," * 20 + b"1]"),
        (bodies.json_events, b"[" + b"1," * 2000 + b"1]"),
        (bodies.line_events, b"1\n" * 11),
        (bodies.line_events, b"\n" * 50),
    ):
        with pytest.raises(Problem) as raised:
            read(body, 10)
        assert raised.value.status == 413


def test_a_large_event_is_refused_and_its_neighbours_are_not(checker: Checker) -> None:
    limits = GatewaySettings(max_event_bytes=100, batch_bytes=2000)
    large = b'{"sensor":"a","value":1,"note":"' + b"x" * 100 + b'"}'
    found = refusals(bodies.line_events(GOOD + b"\n" + large, 10), checker, limits)
    assert set(found) == {1}
    assert "an event may have 100" in found[1][0][1]


def test_media_types() -> None:
    assert bodies.media_type(None) == bodies.JSON
    assert bodies.media_type("Application/JSON; charset=UTF-8") == bodies.JSON
    assert bodies.media_type("application/geo+json") == "application/geo+json"
    for refused in (
        "text/plain",
        "application/json; charset=latin-1",
        "application/cloudevents+xml",
        "nonsense",
        f"application/{'x' * 500}+json",
    ):
        with pytest.raises(Problem) as raised:
            bodies.media_type(refused)
        assert raised.value.status == 415


def test_the_receipt_speaks_of_events_in_the_order_sent(checker: Checker) -> None:
    events = bodies.line_events(b"\n".join([GOOD, b"x", GOOD]), 10)
    refused = judge(events, checker, b"", LIMITS)
    body = orjson.loads(receipt("readings", ["i0", "i1", "i2"], refused, [0, 2], ([1, 0], [41, None])))
    assert (body["stream"], body["accepted"], body["refused"]) == ("readings", 2, 1)
    assert body["events"][0] == {"id": "i0", "status": "accepted", "partition": 1, "offset": 41}
    assert (body["events"][1]["id"], body["events"][1]["status"]) == ("i1", "refused")
    assert body["events"][1]["errors"][0]["pointer"] == ""
    assert body["events"][2] == {"id": "i2", "status": "accepted", "partition": 0, "offset": None}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(["sensor", "value", "at", "mail", "x"]) | st.text(), values, max_size=5)
quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.lists(objects, max_size=6))
def test_lines_and_an_array_of_the_same_objects_have_the_same_verdicts(
    checker: Checker, sent: list[dict[str, object]]
) -> None:
    payloads = [json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") for value in sent]
    lines = bodies.line_events(b"\n".join(payloads), 100)
    array = bodies.json_events(b"[" + b",".join(payloads) + b"]", 100)
    assert lines.payloads == array.payloads == payloads
    assert refusals(lines, checker) == refusals(array, checker)


@quick
@given(st.lists(objects, min_size=1, max_size=6))
def test_a_broken_line_changes_no_other_verdict(checker: Checker, sent: list[dict[str, object]]) -> None:
    payloads = [json.dumps(value).encode() for value in sent]
    alone = refusals(bodies.line_events(b"\n".join(payloads), 100), checker)
    spoilt = refusals(bodies.line_events(b"\n".join([*payloads, b"{"]), 100), checker)
    assert {index: found for index, found in spoilt.items() if index != len(payloads)} == alone
    assert len(payloads) in spoilt


READERS = [
    lambda body: bodies.json_events(body, 50),
    lambda body: bodies.line_events(body, 50),
    lambda body: cloudevents.structured(body),
    lambda body: cloudevents.batched(body, 50),
    lambda body: cloudevents.in_lines(body, 50),
]
json_like = st.text(alphabet='{}[]":,\\ud80eE+-.019 \n\r\ttruefalsn\x00é', max_size=60).map(str.encode)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | json_like, st.sampled_from(READERS))
def test_no_bytes_raise_anything_but_a_problem(checker: Checker, body: bytes, read: object) -> None:
    assert callable(read)
    try:
        events = read(body)
    except Problem:
        return
    refused = refusals(events, checker)
    for index, payload in enumerate(events.payloads):
        if index not in refused:
            assert isinstance(json.loads(payload), dict)
