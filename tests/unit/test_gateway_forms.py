"""HTML forms: the contract's types say what a field's text means."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.contract import Column, Stream
from ingest_gateway import forms, typed_text
from ingest_gateway.problems import Problem
from ingest_gateway.typed_text import SkippedTime, in_zone

COLUMNS = (
    Column("name", "string", pointer=("name",)),
    Column("count", "integer", pointer=("count",)),
    Column("price", "number", pointer=("price",)),
    Column("wanted", "boolean", pointer=("wanted",)),
    Column("at", "timestamp", pointer=("at",)),
    Column("millis", "timestamp", pointer=("properties", "time"), encoding="epoch-millis"),
    Column("depth", "number", pointer=("geometry", "coordinates", 2)),
    Column("tags", "array", pointer=("tags",), items=Column("item", "integer")),
    Column("home", "object", pointer=("home",), fields=(Column("city", "string", pointer=("home", "city")),)),
)
STREAM = Stream("s", "1.0.0", "", "", "event", COLUMNS)


def typed(body: str) -> Any:
    events = forms.event(forms.urlencoded(body.encode()), STREAM)
    assert json.loads(events.payloads[0]) == events.values[0]
    return events.values[0]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("name=3&count=3&price=3.50", {"name": "3", "count": 3, "price": 3.5}),
        ("name=&count=&other=", {}),
        ("count=three&price=1e999&price=NaN", {"count": "three", "price": "NaN"}),
        ("price=1e999", {"price": "1e999"}),
        ("count=123456789012345678901&price=0.10", {"count": 123456789012345678901, "price": 0.1}),
        ("wanted=on", {"wanted": True}),
        ("wanted=false", {"wanted": False}),
        ("wanted=false&wanted=true", {"wanted": True}),
        ("wanted=maybe", {"wanted": "maybe"}),
        ("at=2026-05-05T12:13", {"at": "2026-05-05T12:13:00Z"}),
        ("at=2026-05-05T12:13:14.5%2B02:00", {"at": "2026-05-05T12:13:14.5+02:00"}),
        ("millis=1517966773840", {"properties": {"time": 1517966773840}}),
        ("millis=1970-01-01T00:01", {"properties": {"time": 60000}}),
        ("depth=7", {"geometry": {"coordinates": [None, None, 7]}}),
        ("tags=1&tags=2&tags=", {"tags": [1, 2]}),
        ("tags=[1,2]", {"tags": [1, 2]}),
        ("home.city=Bern", {"home": {"city": "Bern"}}),
        ('home={"city":"Bern"}', {"home": {"city": "Bern"}}),
        ("unknown=3&name=%C3%A9+%F0%9F%98%80", {"unknown": "3", "name": "é 😀"}),
    ],
)
def test_fields_are_typed(body: str, value: dict[str, Any]) -> None:
    assert typed(body) == value


def test_what_is_no_form_is_a_problem() -> None:
    for body in (b"name=%FF", b"\xff=1", b"&".join(b"a=1" for _ in range(2000))):
        with pytest.raises(Problem) as raised:
            forms.urlencoded(body)
        assert raised.value.status == 400


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def test_multipart_fields_are_read_and_files_refused() -> None:
    field = b'Content-Disposition: form-data; name="count"\r\n\r\n3'
    file = b'Content-Disposition: form-data; name="f"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nx'

    def read(body: bytes, kind: str = "multipart/form-data; boundary=b") -> forms.Fields:
        return anyio.run(forms.multipart, body, kind, 1000)

    assert read(multipart(field)) == [("count", "3")]
    for body, kind in (
        (multipart(field, file), "multipart/form-data; boundary=b"),
        (multipart(field), "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=b"),
        (multipart(b'Content-Disposition: form-data; name="count"\r\n\r\n' + b"x" * 2000), "multipart/form-data; boundary=b"),
    ):  # fmt: skip
        with pytest.raises(Problem) as raised:
            read(body, kind)
        assert raised.value.status == 400


@given(
    st.lists(
        st.tuples(st.sampled_from([c.name for c in COLUMNS] + ["home.city", "x"]), st.text(max_size=12)), max_size=8
    )
)
def test_any_fields_make_one_json_object_or_a_problem(fields: forms.Fields) -> None:
    try:
        events = forms.event(fields, STREAM)
    except Problem:
        return
    assert isinstance(orjson.loads(events.payloads[0]), dict)


def column(kind: str, **facts: Any) -> Column:
    return Column("c", kind, pointer=("c",), **facts)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2026-07-01T12:00", "2026-07-01T12:00:00+02:00"),
        ("2026-01-01 12:00:05.25", "2026-01-01T12:00:05.25+01:00"),
        ("2026-10-25T02:30", "2026-10-25T02:30:00+02:00"),  # shown twice by the clocks: the first
        ("1890-01-01T12:00", "1890-01-01T12:00:00+00:29"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("2026-13-01T12:00", "2026-13-01T12:00"),
        ("0001-01-01T00:00", "0001-01-01T00:00"),
    ],
)
def test_a_local_time_gets_the_offset_of_its_zone(text: str, sent: str) -> None:
    assert in_zone(column("timestamp"), text, ZoneInfo("Europe/Zurich")) == sent


def test_a_time_that_the_clocks_skipped_is_said() -> None:
    with pytest.raises(SkippedTime):
        in_zone(column("timestamp"), "2026-03-29T02:30", ZoneInfo("Europe/Zurich"))
    assert in_zone(column("timestamp", format="dd.MM.yyyy"), "2026-03-29T02:30", ZoneInfo("Europe/Zurich"))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_a_number_keeps_its_digits(number: Decimal) -> None:
    sent = orjson.dumps({"n": typed_text.typed(column("number"), str(number))})
    assert json.loads(sent, parse_float=Decimal, parse_int=Decimal)["n"] == number


@given(st.datetimes(min_value=datetime(1971, 1, 1)), st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns"]))
def test_an_epoch_is_the_same_instant(moment: datetime, zone: str) -> None:
    millis = column("timestamp", encoding="epoch-millis")
    local = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    try:
        text = in_zone(millis, local.isoformat(), ZoneInfo(zone))
    except SkippedTime:
        return
    sent = local.replace(tzinfo=ZoneInfo(zone)).timestamp()
    assert typed_text.typed(millis, text) == round(sent * 1000)
