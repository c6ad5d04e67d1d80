"""Payloads of any bytes → the values that stand in them, or the word that they cannot be read."""

import json
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catalog.contract import Column
from stream_jobs.payloads import MISFIT, PayloadReader
from tests.batches import column, refined, stream, verdicts


def read(columns: tuple[Column, ...], *payloads: bytes) -> tuple[list[list[Any]], list[int]]:
    """The rows of the payloads, and which of them could not be read."""
    found = PayloadReader(stream(*columns))(pa.chunked_array([pa.array(payloads, pa.binary())]))
    rows = [list(row) for row in zip(*found.values, strict=True)]
    return [[bytes(v) if isinstance(v, msgspec.Raw) else v for v in row] for row in rows], found.unreadable


ONE = (column("a", "integer"), column("b"))
FEATURE = (
    column("id"),
    column("x", "number", pointer=("at", "point", 0)),
    column("z", "number", pointer=("at", "point", 2)),
    column("n", "integer", pointer=("counts", 1)),
    column("mixed", pointer=("list", 0)),
    column("other", "integer", pointer=("list", 1)),
    column("deep", pointer=("list", 2, "name")),
)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b" ", b"null", b"[]", b'"a"', b"5", b"{", b'{"a":1} x', b'{"a":1}{"a":2}', b'\xef\xbb\xbf{"a":1}', b'{"a":NaN}',
        b'{"a":01}', b"{'a':1}", b'{"a":1,}', b'{"b":"\xff"}', b'{"c":"\xff"}', b'{"\xff":1}', b'{"b":"\x00"}',
        b'{"b":"\\ud800"}',
        b'{"c":"\\udc00"}', b'{"c":' + b"[" * 200_000, b'{"c":' + b"[" * 200_000 + b"]" * 200_000 + b"}", b'{"c":"\\q"}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_in_utf8_is_unreadable(payload: bytes) -> None:
    rows, unreadable = read(ONE, payload, b'{"a":7,"b":"x"}')
    assert unreadable == [0]
    assert rows == [[None, None], [7, "x"]]


@pytest.mark.parametrize(
    ("payload", "row"),
    [
        (b"{}", [None, None]),
        (b'{"a":null,"b":null,"more":[1,{"a":2}]}', [None, None]),
        (b'{"a":1,"a":2}', [2, None]),
        (b'{"a":"x","a":2}', [2, None]),
        (b'{"a":2,"a":"x"}', [MISFIT, None]),
        (b'{"a":"5","b":5}', [5, "5"]),
        (b'{"a":5.0,"b":true}', [5, "true"]),
        (b'{"a":5e0}', [5, None]),
        (b'{"a":5.5,"b":"kept"}', [MISFIT, "kept"]),
        (b'{"a":true,"b":"kept"}', [MISFIT, "kept"]),
        (b'{"a":1e999999,"b":"kept"}', [MISFIT, "kept"]),
        (b'{"a":9223372036854775808,"b":"kept"}', [MISFIT, "kept"]),
        (b'{"a":-9223372036854775808}', [-(2**63), None]),
        (b'{"a":"null","b":"null"}', [MISFIT, "null"]),
        (b'{"\\u0061":1,"b":"\\u0000"}', [1, "\0"]),
        (b'{"a":1,"c":1e999999}', [1, None]),
    ],
)
def test_values_of_payloads(payload: bytes, row: list[Any]) -> None:
    # Another payload that is no UTF-8 must not change the verdict.
    for others in ((), (b'{"c":"\xff"}',)):
        rows, unreadable = read(ONE, payload, *others)
        assert rows[0] == row
        assert 0 not in unreadable


def test_members_of_lists_are_found_by_their_index() -> None:
    rows, unreadable = read(
        FEATURE,
        b'{"id":"1","at":{"point":[1,2,3.5]},"counts":[1,2,3]}',
        b'{"id":"2","at":{"point":[1,2]},"counts":[1]}',
        b'{"id":"3","at":{"point":null},"counts":null,"list":null}',
        b'{"id":"4","at":null,"list":[]}',
        b'{"id":"5","at":{"point":[1,"x","3"]},"counts":["1","2"],"list":["m",7,{"name":"n"}]}',
        b'{"id":"6","at":7,"counts":{"1":5},"list":"no"}',
        b'{"id":"7","at":{"point":[null,null,null]},"counts":[null,null],"list":[null,null,{}]}',
    )
    assert unreadable == []
    nothing = [None] * 3
    assert rows == [
        ["1", 1.0, 3.5, 2, *nothing],
        ["2", 1.0, None, None, *nothing],
        ["3", None, None, None, *nothing],
        ["4", None, None, None, *nothing],
        ["5", 1.0, 3.0, 2, "m", 7, "n"],
        ["6", None, None, None, *nothing],
        ["7", None, None, None, *nothing],
    ]


def test_what_has_the_contracts_form_is_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is the same, but for the time that it takes."""

    def never(*_: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(PayloadReader, "_read_one_by_one", never)
    price = column("price", "number", physical_type="decimal(5,2)")
    columns = (
        column("n", "integer", pointer=("c", 1)), replace(price, name="first", pointer=("d", 0)), column("any", "object"), price,
        column("anys", "array", items=column("i", "object")), column("t", "timestamp", encoding="epoch-seconds"),
    )  # fmt: skip
    rows, _ = read(columns, b'{"c":[1,2,3],"d":[1.50,null],"any":{},"price":2.5,"anys":[{},null],"t":1.5}', b"{}")
    assert [bytes(item) for item in rows[0].pop(4)] == [b"{}", b"null"]
    assert rows == [[2, b"1.50", b"{}", b"2.5", b"1.5"], [None] * 6]


def test_rows_keep_their_order_over_many_blocks() -> None:
    payloads = [b'{"a":"%d"}' % n if n % 7 == 0 else b"[" if n % 11 == 0 else b'{"a":%d}' % n for n in range(2_000)]
    rows, unreadable = read(ONE, *payloads)
    assert unreadable == [n for n in range(2_000) if n % 11 == 0 and n % 7]
    assert [row[0] for row in rows] == [None if n in set(unreadable) else n for n in range(2_000)]


EVERYTHING = stream(
    column("s", required=True),
    column("i", "integer"),
    column("narrow", "integer", physical_type="int"),
    column("n", "number"),
    column("f", "number", physical_type="float"),
    column("d", "number", physical_type="decimal(10,2)"),
    column("b", "boolean"),
    column("day", "date"),
    column("t", "timestamp"),
    column("ms", "timestamp", encoding="epoch-millis"),
    column("sec", "timestamp", encoding="epoch-seconds"),
    column("clock", "time"),
    column("german", "date", format="dd.MM.yyyy"),
    column("list", "array", items=column("i", "number", physical_type="decimal(5,1)")),
    column("object", "object", fields=(column("s"), column("t", "timestamp"), column("extra", "object"))),
    column("any", "object"),
    column("anys", "array"),
    column("x", "number", pointer=("geo", "at", 0)),
    column("y", "number", pointer=("geo", "at", 1)),
)
NAMES = [c.name for c in EVERYTHING.columns]
ODD = st.sampled_from(
    [
        "NaN", "Infinity", "1_000", "", " 5 ", "1e999999", "5.", "٣", "null", "true", "2026-02-30", "0000-01-01", "24:00",
        "10:00\n", "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00", "2026-01-01T00:00:00Z",
        "{}", "[", '{"a":1}', "\U0010ffff",
    ]
)  # fmt: skip
NUMBERS = st.sampled_from(
    ["1e999999", "-1e999999", "1e-999999", "0.1", "1E+2", "-0.0", "1" + "0" * 400, "9" * 5000, "1." + "0" * 300, "12345678901",
     "253402300799.9999999999999999999999"]
)  # fmt: skip
LEAF = st.one_of(
    ODD.map(json.dumps), NUMBERS, st.integers().map(str), st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.text().map(json.dumps), st.sampled_from(["null", "true", "false", "{}", "[]"]),
)  # fmt: skip
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(st.sampled_from(["s", "t", "extra", "at", "x"]), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
        ),
    ),
    max_leaves=5,
)
OBJECT = st.lists(st.tuples(st.sampled_from([*NAMES, "geo", "unknown"]), VALUE), max_size=6).map(
    lambda pairs: ("{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}").encode()
)
ANY = st.one_of(
    OBJECT,
    st.binary(max_size=40),
    OBJECT.map(lambda text: text[:-1]),
    OBJECT.map(lambda text: text.replace(b"e", b"\xff")),
)
SLOW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW
@given(st.lists(ANY, max_size=5))
@example([b'{"s":"a","sec":"NaN"}', b'{"s":"a","d":"NaN"}', b'{"s":"a","d":"sNaN"}'])
@example([b'{"s":"a","ms":1.5}', b'{"s":"a","ms":1}'])
@example([b'{"s":"a","d":12345678901,"i":"1"}'])
@example([b'{"s":"a","list":[123456.1],"object":{"t":"9999-12-31T23:59:59-10:00"}}'])
@example([b'{"s":"a","object":{"extra":{"a":[[1]]}}}'])
def test_every_payload_is_in_silver_or_in_quarantine(payloads: list[bytes]) -> None:
    found = refined(EVERYTHING, *payloads)
    assert sorted(verdicts(found)) == list(range(len(payloads)))


@SLOW
@given(st.lists(ANY, min_size=2, max_size=5))
@example([b'{"s":"a","d":"1_0"}', b'{"s":"a","d":"1_0","i":"1"}'])
@example([b'{"s":"a","ms":1.5}', b'{"s":"a","ms":1}'])
@example([b'{"s":"a","sec":253402300799.99999999999999999999999999}', b'{"s":"a","sec":"1"}'])
@example([b'{"s":"a","day":"0000-01-01"}', b'{"s":"a","day":"x"}'])
@example([b'{"s":"a","t":"9999-12-31T23:59:59-10:00"}', b'{"s":"a","t":"x"}'])
@example([b'{"s":"a","clock":"10:00\\n"}', b'{"s":"a","clock":"x"}'])
@example([b'{"s":"a","any":5}', b'{"s":"a","any":{},"i":"5"}'])
def test_a_row_is_judged_the_same_whatever_else_is_in_the_batch(payloads: list[bytes]) -> None:
    together = refined(EVERYTHING, *payloads)
    rows = {row["_kafka_offset"]: row for table in (together.silver, together.quarantine) for row in table.to_pylist()}
    for offset, payload in enumerate(payloads):
        alone = refined(EVERYTHING, payload)
        (row,) = [row for table in (alone.silver, alone.quarantine) for row in table.to_pylist()]
        place = {"_kafka_offset": 0, "_event_id": "id-0"}
        assert rows[offset] | place == row | place


@SLOW
@given(OBJECT)
def test_what_spoils_one_column_changes_no_other(payload: bytes) -> None:
    """The strict way reads the payload as it is; a value that doesn't fit sends it the lenient way."""
    spoilt = payload[:-1] + (b"," if len(payload) > 2 else b"") + b'"b":"neither"}'
    (strict,), (lenient,) = (
        [row for table in (found.silver, found.quarantine) for row in table.to_pylist()]
        for found in (refined(EVERYTHING, payload), refined(EVERYTHING, spoilt))
    )
    assert {name: strict[name] for name in NAMES if name != "b"} == {
        name: lenient[name] for name in NAMES if name != "b"
    }
