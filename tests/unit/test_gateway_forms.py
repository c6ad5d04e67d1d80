"""HTML forms: the contract's types say what a field's text means."""

from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.contract import Column, Stream
from ingest_gateway import forms
from ingest_gateway.problems import Problem

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
    assert orjson.loads(events.payloads[0]) == events.values[0]
    return events.values[0]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("name=3&count=3&price=3.50", {"name": "3", "count": 3, "price": 3.5}),
        ("name=&count=&other=", {}),
        ("count=three&price=1e999&price=NaN", {"count": "three", "price": "NaN"}),
        ("price=1e999", {"price": "1e999"}),
        ("count=123456789012345678901", {"count": "123456789012345678901"}),
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
