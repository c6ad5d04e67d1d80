"""Rows judged by the contract: what the gateway takes, the stream job takes, but for what only typed columns can tell."""

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.contract import Column, Limits, Rule
from catalog.errors import SluiceError
from ingest_gateway.check import Checker
from stream_jobs.refine import PROVENANCE, Refiner
from tests.batches import NOON, bronze, column, refined, stream, verdicts

UUID = "0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42"
PATTERNS = (
    r"^\d+$", r"^\s*\w*\s*$", r"^(?!TEST)[A-Z]+[0-9]+$", "^.{1,3}$", r"\bx", "[^a-z]", r"^\S+$", r"^\p{L}*$", "(a|b)*$", r"\.",
    r"^\W", "x$",
)  # fmt: skip
LETTERS = st.text(st.sampled_from("aAbxzT_09.٣é \n\r\t\v\u00a0\u2028\ufeffß日👍"), max_size=6)
FORMATS = {
    "uuid": (UUID, UUID.upper(), UUID.replace("-", ""), "x"),
    "email": ("a@example.com", "a@b", '"a b"@example.com', "a@[127.0.0.1]", "é@example.com", "a"),
    "uri": ("https://example.com/a?b#c", "urn:a:b", "mailto:a@b", "http://[::1]/", "a:b c", "//x", "x:"),
    "hostname": ("example.com", "a-b", "xn--nxasmq6b", "-a", "a.", "A"),
    "ipv4": ("127.0.0.1", "256.1.1.1", "1.1.1", "01.1.1.1"),
    "ipv6": ("::1", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "g::"),
}
MOMENTS = st.one_of(
    st.sampled_from(
        ["2016-12-31T23:59:60Z", "2017-01-01T01:59:60.5+02:00", "2026-11-20t10:15:30z", "2026-11-20T10:15:30.123456789-00:00",
         "2026-11-20", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999+23:59",
         "2026-02-30T00:00:00Z", "2026-11-20T10:15Z"]
    ),
    st.datetimes(timezones=st.timezones()).filter(lambda t: 1 < t.year < 9999).map(lambda t: t.isoformat()),
)  # fmt: skip
SMALL = st.one_of(st.integers(-1_000_000, 1_000_000), st.floats(-1e4, 1e4).map(lambda x: round(x, 3)))
BOUND = st.none() | st.integers(-50, 50) | st.floats(-50, 50).map(lambda x: round(x, 2))
STEP = st.sampled_from([None, None, 1, 3, 0.5, 0.01, 0.1, 2.5])


def texts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return values.map(lambda value: json.dumps(value, ensure_ascii=False))


@st.composite
def strings(draw: st.DrawFn) -> tuple[dict[str, Any], st.SearchStrategy[str]]:
    form = draw(st.sampled_from([None, None, *FORMATS]))
    low, pattern = draw(st.sampled_from([None, 0, 2])), draw(st.none() | st.sampled_from(PATTERNS))
    limits = Limits(min_length=low, max_length=draw(st.sampled_from([None, 2, 100])), pattern=pattern)
    values = st.sampled_from(FORMATS[form]) if form else LETTERS
    return {"kind": "string", "format": form, "limits": limits if not form else Limits()}, texts(values)


@st.composite
def bounds(draw: st.DrawFn, exclusive: bool = True) -> Limits:
    tight = draw(st.booleans()) and exclusive
    low, high = sorted((draw(BOUND), draw(BOUND)), key=lambda bound: (bound is None, bound))
    names = ("exclusive_minimum", "exclusive_maximum") if tight else ("minimum", "maximum")
    chosen: dict[str, Any] = dict(zip(names, (low, high), strict=True))
    return Limits(**chosen, multiple_of=draw(STEP))


@st.composite
def integers(draw: st.DrawFn) -> tuple[dict[str, Any], st.SearchStrategy[str]]:
    facts = draw(
        st.sampled_from([{}, {"physical_type": "int"}, {"format": "u8"}, {"format": "u32"}, {"format": "i64"}])
    )
    limits = draw(st.just(Limits()) | st.just(Limits(minimum=-1e30, maximum=10**25)) | bounds())
    values = st.one_of(
        st.integers(-60, 60).map(str), st.integers(-60, 60).map(lambda n: f"{n}.0"),
        st.sampled_from(["1e1", "2E+1", "30e-1", "0.0", "-0.0"]),
        st.integers(-(2**63), 2**63 - 1).map(str), st.sampled_from([str(2**63), str(-(2**63)), "4294967295", "2147483647",
        "1.5"]),
    )  # fmt: skip
    return {"kind": "integer", **facts, "limits": limits}, values


@st.composite
def numbers(draw: st.DrawFn) -> tuple[dict[str, Any], st.SearchStrategy[str]]:
    physical = draw(st.sampled_from([None, "float", "decimal(10,2)", "decimal(15,6)", "decimal(9,0)"]))
    # In 32 bits a number may be rounded to what it must not reach.
    limits = draw(st.just(Limits()) | bounds(exclusive=physical != "float"))
    values = (
        texts(SMALL)
        | st.integers(-60, 60).map(str)
        | st.sampled_from(["0.10", "1e1", "10.00", "0.30000", "-0.0", "3e-1"])
    )
    if physical is None and limits == Limits():
        values |= texts(st.floats(allow_nan=False, allow_infinity=False)) | st.sampled_from(
            ["1e308", "1e400", "9" * 30]
        )
    return {"kind": "number", "physical_type": physical, "limits": limits}, values


def others() -> st.SearchStrategy[tuple[dict[str, Any], st.SearchStrategy[str]]]:
    clock = st.times().map(lambda t: t.isoformat()) | st.sampled_from(
        ["10:15", "23:59:60", "24:00", "10:00:00Z", "10:00:00.5+02:00", "10:00\n"]
    )
    days = st.dates().map(str) | st.sampled_from(["2026-02-29", "20260101", "2026-1-1"])
    millis = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(str)
    odd = st.sampled_from(["1517966773840.0", "1.5e12", "1.5", "-1", "1e15"])
    seconds = st.floats(-62_135_596_800, 253_402_300_799).map(repr) | st.sampled_from(
        ["253402300799.5", "1e9", "1.23456789"]
    )
    return st.sampled_from(
        [
            ({"kind": "boolean"}, st.sampled_from(["true", "false", "1"])),
            ({"kind": "date"}, texts(days)),
            ({"kind": "timestamp"}, texts(MOMENTS)),
            ({"kind": "timestamp", "encoding": "epoch-millis"}, millis | odd),
            ({"kind": "timestamp", "encoding": "epoch-seconds"}, seconds | millis | odd),
            ({"kind": "time"}, texts(clock)),
            ({"kind": "object"}, st.sampled_from(['{"a":[1,{"b":1e400}]}', "{}", "[]", '"{}"', '{"a":"\\u0000"}'])),
            ({"kind": "array"}, st.sampled_from(['[1,"a",null]', "[ ]", "{}", '"[]"'])),
        ]
    )


ENUMS: list[tuple[str, dict[str, Any], tuple[Any, ...], tuple[str, ...]]] = [
    ("string", {}, ("a", "é", ""), ('"a"', '"é"', '""', '"b"', '"\\u0061"')),
    ("integer", {"physical_type": "int"}, (1, 2.0, 2**40), ("1", "2", "1.0", "3", str(2**40))),
    ("number", {}, (0.1, 2), ("0.1", "2", "2.0", "0.2")),
    ("number", {"physical_type": "float"}, (0.1, 2), ("0.1", "2", "0.2")),
    ("number", {"physical_type": "decimal(5,2)"}, (0.1, 2, 1.005), ("0.10", "2", "1.005", "0.2")),
    ("boolean", {}, (True,), ("true", "false")),
    ("date", {}, ("2026-01-01",), ('"2026-01-01"', '"2026-01-02"')),
    ("timestamp", {}, ("2026-01-01T00:00:00Z",), ('"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00.0Z"')),
    ("timestamp", {"encoding": "epoch-millis"}, (1_500_000_000_000,), ("1500000000000", "0")),
    ("timestamp", {"encoding": "epoch-seconds"}, (1_500_000_000.5,), ("1500000000.5", "0")),
    ("array", {"items": column("i", "integer")}, ([1], [2, 3]), ("[1]", "[2,3]", "[2]", "[1.0]")),
    ("array", {"items": column("i", "date")}, (["2026-01-01"], []), ('["2026-01-01"]', "[]", '["2026-01-02"]')),
    ("array", {}, ([1, {"a": None}],), ('[1.0,{"a":null}]', "[]")),
    ("object", {}, ({"a": 1}, {}), ('{"a": 1}', "{}", '{"a":1e400}', '{"a":2}')),
    (
        "object",
        {"fields": (column("a", "timestamp"),)},
        ({"a": "2026-01-01T00:00:00Z"},),
        ('{"a":"2026-01-01T00:00:00Z"}', "{}"),
    ),
]


@st.composite
def enums(draw: st.DrawFn) -> tuple[dict[str, Any], st.SearchStrategy[str]]:
    kind, facts, allowed, values = draw(st.sampled_from(ENUMS))
    return {"kind": kind, **facts, "allowed": allowed}, st.sampled_from(values)


def plain() -> st.SearchStrategy[tuple[dict[str, Any], st.SearchStrategy[str]]]:
    return st.one_of(strings(), integers(), numbers(), others(), enums())


@st.composite
def nested(draw: st.DrawFn) -> tuple[dict[str, Any], st.SearchStrategy[str]]:
    facts, values = draw(plain())
    inner = values | st.just("null")
    if draw(st.booleans()):
        limits = Limits(min_items=draw(st.sampled_from([None, 1])), max_items=draw(st.sampled_from([None, 2])))
        items = {"kind": "array", "items": column("item", **facts), "limits": limits}
        return items, st.lists(inner, max_size=3).map(lambda found: "[" + ",".join(found) + "]")
    child = column("child", **facts, required=draw(st.booleans()))
    return {"kind": "object", "fields": (child, column("class"))}, inner.map(
        lambda found: f'{{"child":{found},"more":1}}'
    ) | st.just("{}")


@st.composite
def events(draw: st.DrawFn) -> tuple[tuple[Column, ...], list[bytes]]:
    """A contract, and payloads that may keep it."""
    columns, members = [], []
    for number in range(draw(st.integers(1, 3))):
        facts, values = draw(plain() | nested())
        name = f"c{number}"
        pointer: tuple[str | int, ...] = draw(st.sampled_from([(name,), (f"in {number}", name), (f"list{number}", 1)]))
        columns.append(column(name, **facts, required=draw(st.booleans()), pointer=pointer))
        members.append((pointer, values | st.just("null")))

    def payload() -> bytes:
        parts = []
        for pointer, values in members:
            value = draw(values)
            shown = value if len(pointer) == 1 else f"[0,{value}]" if pointer[1] == 1 else f'{{"{pointer[1]}":{value}}}'
            parts.append(f'"{pointer[0]}":{shown}')
        return ("{" + ",".join(parts[draw(st.sampled_from([0, 0, 0, 1])) :]) + "}").encode()

    return tuple(columns), [payload() for _ in range(draw(st.integers(1, 3)))]


def taken(checker: Checker, payload: bytes) -> bool:
    try:
        return checker.violations(msgspec.json.decode(payload)) == ()
    except msgspec.DecodeError:
        return False


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events())
def test_what_the_gateway_takes_has_the_contracts_form(event: tuple[tuple[Column, ...], list[bytes]]) -> None:
    columns, payloads = event
    checker = Checker(stream(*columns))
    good = [payload for payload in payloads if taken(checker, payload)]
    found = verdicts(refined(stream(*columns), *good))
    assert found == dict.fromkeys(range(len(good)), ())


@pytest.mark.parametrize(
    ("of", "payload", "rule"),
    [
        # A float has not the digits in which the gateway could see it; the decimal would lose them.
        (column("v", "number", physical_type="decimal(5,2)"), b'{"v":0.1000000000000000055}', "type"),
        (column("v", "number", physical_type="decimal(38,10)"), b'{"v":0.00000000001}', "type"),
        # JSON Schema's formats know more years than any engine over the tables.
        (column("v", "date"), b'{"v":"0000-01-01"}', "type"),
        (column("v", "timestamp"), b'{"v":"0000-12-31T00:00:00Z"}', "type"),
        (column("v", "timestamp"), b'{"v":"9999-12-31T23:59:59-10:00"}', "type"),
        (column("v", "timestamp"), b'{"v":"0001-01-01T00:00:00+10:00"}', "type"),
        # Two texts are one moment.
        (column("v", "array", items=column("i", "timestamp"), limits=Limits(unique_items=True)),
         b'{"v":["2026-01-01T00:00:00Z","2026-01-01T01:00:00+01:00"]}', "uniqueItems"),
        # What stands in 32 bits is the bound itself.
        (column("v", "number", physical_type="float", limits=Limits(exclusive_maximum=0.1)),
         b'{"v":0.09999999999}', "exclusiveMaximum"),
        (column("v", "number", physical_type="float"), b'{"v":1e39}', "type"),
        # The gateway cannot know of bounds of dates, nor of formats of one's own.
        (column("v", "date", limits=Limits(minimum="2020-01-01")), b'{"v":"2019-12-31"}', "minimum"),
        (column("v", "date", format="dd.MM.yyyy"), b'{"v":"1.2.2026"}', "type"),
    ],
)  # fmt: skip
def test_what_only_the_stream_job_can_tell(of: Column, payload: bytes, rule: str) -> None:
    assert taken(Checker(stream(of)), payload)
    assert verdicts(refined(stream(of), payload)) == {0: (rule,)}


def test_all_faults_of_a_row_are_named_in_the_contracts_words() -> None:
    of = stream(
        column("a", required=True),
        column("b", "integer", limits=Limits(minimum=1)),
        column("c", "boolean"),
        rules=[
            Rule("later", None, "error", "b is too small", expression="b > 5"),
            Rule("known", "c", "warning", "", not_null=True),
        ],
    )
    found = refined(of, b'{"b":0,"c":7}', b'{"a":"x","b":6}', b"[]").quarantine.to_pylist()
    assert [[(r["rule"], r["column"], r["severity"]) for r in row["_violations"]] for row in found] == [
        [("required", "a", "error"), ("minimum", "b", "error"), ("type", "c", "error"), ("later", None, "error")],
        [("json", None, "error")],
    ]
    assert [reason["message"] for reason in found[0]["_violations"]] == [
        "is required and is missing or null", "is less than 1", "is not true or false", "b is too small",
    ]  # fmt: skip
    assert found[0]["b"] == 0
    assert [row["payload"] for row in found] == [b'{"b":0,"c":7}', b"[]"]


def test_silver_has_the_columns_and_where_each_row_is_from() -> None:
    found = refined(stream(column("b", "integer", physical_type="int"), column("a")), b'{"a":"x","b":1}')
    assert found.silver.schema == pa.schema([("b", pa.int32()), ("a", pa.string()), *PROVENANCE])
    assert found.silver.to_pylist() == [
        {"b": 1, "a": "x", "_event_id": "id-0", "_received_at": NOON, "_kafka_partition": 0, "_kafka_offset": 0,
         "_contract_version": "1.0.0"}
    ]  # fmt: skip
    assert found.quarantine.schema.names == [*found.silver.schema.names, "payload", "_violations"]


def test_an_empty_batch_and_a_row_without_a_version() -> None:
    refine = Refiner(stream(column("a")))
    assert len(refine(bronze()).silver) == 0
    assert refine(bronze(b"{}", version=None)).silver.column("_contract_version").to_pylist() == ["1.0.0"]


@pytest.mark.parametrize(
    "of",
    [
        stream(column("a", "array", items=column("i")), rules=[Rule("r", "a", "error", "", pattern="x")]),
        stream(column("a", "date", limits=Limits(minimum="yesterday"))),
        stream(column("a", "integer", limits=Limits(multiple_of=0))),
        stream(column("a", "integer", limits=Limits(multiple_of=10**30))),
        stream(column("a", "number", limits=Limits(minimum=10**400))),
        stream(column("a", "date", format="dd.MM.yyyy", limits=Limits(minimum="2026-01-01"))),
        stream(column("a"), rules=[Rule("r", None, "error", "", expression="no_such_function(a)")]),
    ],
)
def test_what_cannot_be_judged_is_told_before_the_first_batch(of: Any) -> None:
    with pytest.raises(SluiceError):
        Refiner(of)
