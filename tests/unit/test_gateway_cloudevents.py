"""CloudEvents 1.0: attributes, ids and the payload's own bytes."""

import base64

import orjson
import pytest

from ingest_gateway import cloudevents
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.problems import Problem

HEAD = b'"specversion":"1.0","id":"e1","source":"/s","type":"t"'
DATA = b'{ "sensor":"\\u0061" ,"value":1.0}'


def event(tail: bytes, head: bytes = HEAD) -> bytes:
    return b"{" + head + b"," + tail + b"}"


def headers(**given: str) -> RequestHeaders:
    return RequestHeaders([(name.replace("_", "-").encode(), v.encode()) for name, v in given.items()])


def test_data_keeps_its_own_bytes_wherever_it_stands() -> None:
    for body in (event(b'"data": ' + DATA), b'{"data":' + DATA + b" ," + HEAD + b"}"):
        events = cloudevents.structured(body)
        assert (events.payloads, events.ids, events.broken) == ([DATA], ["e1"], {})
        assert events.attributes == [{"source": "/s", "type": "t"}]


def test_of_a_repeated_data_the_same_one_is_checked_and_sent() -> None:
    events = cloudevents.structured(event(b'"data":{"a":1},"data":{"a":2}'))
    assert orjson.loads(events.payloads[0]) == events.values[0]


def test_attributes_become_texts_and_absent_ones_are_absent() -> None:
    tail = b'"time":"2026-01-01T00:00:00Z","subject":null,"sampled":true,"sequence":7,"data":{}'
    events = cloudevents.batched(b"[" + event(tail) + b"]", 10)
    assert events.attributes == [
        {"source": "/s", "type": "t", "time": "2026-01-01T00:00:00Z", "sampled": "true", "sequence": "7"}
    ]


def test_base64_data_is_decoded() -> None:
    events = cloudevents.structured(event(b'"data_base64":"' + base64.b64encode(DATA) + b'"'))
    assert events.payloads == [DATA]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"specversion":"1.0","source":"/s","type":"t","data":{}}', "/id"),
        (b'{"specversion":"1.0","id":"","source":"/s","type":"t","data":{}}', "/id"),
        (b'{"specversion":"1.0","id":7,"source":"/s","type":"t","data":{}}', "/id"),
        (b'{"specversion":"1.0","id":"a\\nb","source":"/s","type":"t","data":{}}', "/id"),
        (b'{"specversion":"0.3","id":"1","source":"/s","type":"t","data":{}}', "/specversion"),
        (event(b'"producer":"root","data":{}'), "/producer"),
        (event(b'"eventtime":"x","data":{}'), "/eventtime"),
        (event(b'"Upper":"x","data":{}'), "/Upper"),
        (event(b'"list":[1],"data":{}'), "/list"),
        (event(b'"datacontenttype":"text/plain","data":"x"'), "/datacontenttype"),
        (event(b'"data_base64":"%%%"'), "/data_base64"),
        (event(b'"data_base64":"e30=","data":{}'), "/data_base64"),
        (event(b'"datacontenttype":"application/json"'), "/data"),
        (b"[]", ""),
        (b"7", ""),
    ],
)
def test_a_broken_event_is_refused_where_it_is_broken_and_alone(body: bytes, pointer: str) -> None:
    events = cloudevents.in_lines(b"\n".join([event(b'"data":{}'), body, event(b'"data":{}')]), 10)
    assert set(events.broken) == {1}
    assert events.broken[1][0] == pointer


def test_binary_mode_reads_headers() -> None:
    given = headers(ce_specversion="1.0", ce_id="%C3%A9", ce_source="/s", ce_type="t", ce_time="2026-01-01T00:00:00Z")
    assert cloudevents.is_binary(given)
    events = cloudevents.binary(DATA, given)
    assert (events.payloads, events.ids, events.prefix) == ([DATA], ["é"], "")
    assert events.attributes == [{"source": "/s", "type": "t", "time": "2026-01-01T00:00:00Z"}]


def test_binary_mode_without_an_id_is_a_problem() -> None:
    with pytest.raises(Problem, match="ce-id is required"):
        cloudevents.binary(DATA, headers(ce_specversion="1.0", ce_source="/s", ce_type="t"))
