"""What the gateway takes and refuses by a contract, column by column."""

from typing import Any

import jsonschema_rs
import pytest

from catalog.contract import Column, Limits, Stream
from catalog.json_schema import integer_bounds, json_schema


def column(name: str, kind: str = "string", **facts: Any) -> Column:
    return Column(name, kind, pointer=facts.pop("pointer", (name,)), **facts)


def takes(value: Any, *columns: Column) -> bool:
    stream = Stream("s", "1.0.0", "S", "", "event", columns)
    validator = jsonschema_rs.Draft202012Validator(json_schema(stream), validate_formats=True)
    return bool(validator.is_valid(value))


@pytest.mark.parametrize(
    ("kind", "facts", "good", "bad"),
    [
        ("string", {"limits": Limits(min_length=2, max_length=3, pattern="^a")}, ["ab", "abc"], ["a", "abcd", "ba", 1]),
        ("string", {"format": "uuid"}, ["0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42"], ["0b1f", ""]),
        ("string", {"format": "email"}, ["a@example.com"], ["a", "a@"]),
        ("string", {"format": "uri"}, ["https://example.com/a?b#c"], ["a b", "//x"]),
        ("string", {"format": "password"}, ["anything"], [1]),
        ("string", {"allowed": ("x", "y")}, ["x"], ["z", "X"]),
        ("integer", {}, [1, 1.0, -(2**63), 2**63 - 1], [1.5, "1", True, 2**63]),
        ("integer", {"physical_type": "INT"}, [2**31 - 1], [2**31]),
        ("integer", {"format": "u8"}, [0, 255], [-1, 256]),
        ("integer", {"limits": Limits(minimum=1, exclusive_maximum=10, multiple_of=3)}, [3, 9], [0, 10, 4]),
        ("number", {"limits": Limits(minimum=-1, exclusive_maximum=1)}, [-1, 0.99], [1, -1.1, "0"]),
        ("number", {"physical_type": "decimal(5,2)"}, [999.99, -999.99, 0.07, 1.1, 7], [1000, -1000, 0.001, 1.005]),
        ("number", {"physical_type": "decimal(9,0)"}, [7, 7.0], [7.5, 10**9]),
        ("number", {"physical_type": "decimal(9,0)", "limits": Limits(multiple_of=0.01)}, [7, 7.0], [0.1, 7.5]),
        ("number", {"physical_type": "decimal(9,2)", "limits": Limits(multiple_of=0.05)}, [0.05, 7], [0.01, 0.005]),
        ("number", {"physical_type": "decimal(9,1)", "limits": Limits(multiple_of=0.25)}, [0.5, 7], [0.25, 0.1]),
        ("number", {"physical_type": "decimal(3,1)", "limits": Limits(exclusive_minimum=-200, exclusive_maximum=9)},
         [-99.9, 8.9], [-100, 9]),
        ("number", {"physical_type": "decimal(38,10)"}, [10**20, 0.5], ["1"]),
        ("boolean", {}, [True, False], [1, "true", "yes"]),
        ("date", {}, ["2026-02-28"], ["2026-02-29", "2026-2-1", "20260201", 20260201]),
        ("date", {"format": "dd.MM.yyyy"}, ["28.02.2026"], [1]),
        ("timestamp", {}, ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+05:30"], ["2026-01-01", "2026-01-01T00:00:00", 1]),
        ("timestamp", {"encoding": "epoch-millis"}, [0, 1517966773840, -1], [1.5, "0", 10**15]),
        ("timestamp", {"encoding": "epoch-seconds"}, [0, 1517966773.84], ["0", 10**12]),
        ("time", {}, ["23:59", "23:59:59", "23:59:59.123", "10:00:00Z", "10:00:00+02:00"], ["24:00", "9:00", "10:60", 10]),
        ("array", {"items": column("i", "integer"), "limits": Limits(min_items=1, max_items=2, unique_items=True)},
         [[1], [1, None]], [[], [1, 1], [1, 2, 3], ["1"], 1]),
        ("array", {}, [[], [1, "a"]], [{}, "[]"]),
        ("object", {"fields": (column("a", required=True), column("b", "integer"))},
         [{"a": "x"}, {"a": "x", "b": None, "c": 1}], [{}, {"a": None}, {"a": "x", "b": "1"}, []]),
        ("object", {}, [{}, {"a": 1}], [[], "{}"]),
    ],
)  # fmt: skip
def test_each_type(kind: str, facts: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    required, optional = column("v", kind, required=True, **facts), column("v", kind, **facts)
    assert [value for value in good if not takes({"v": value}, required)] == []
    assert [value for value in bad if takes({"v": value}, required) or takes({"v": value}, optional)] == []
    assert takes({}, optional)
    assert takes({"v": None}, optional)
    assert not takes({}, required)
    assert not takes({"v": None}, required)


def test_an_event_is_an_object_and_may_say_more() -> None:
    assert takes({"more": [1]}, column("a"))
    value: Any
    for value in (None, [], "x", 1):
        assert not takes(value, column("a"))


class TestPlaces:
    FEATURE = (
        column("id", pointer=("id",), required=True),
        column("mag", "number", pointer=("properties", "mag")),
        column("longitude", "number", pointer=("geometry", "coordinates", 0), required=True),
        column("depth", "number", pointer=("geometry", "coordinates", 2)),
    )

    @pytest.mark.parametrize(
        "value",
        [
            {"id": "a", "geometry": {"coordinates": [1.5]}},
            {"id": "a", "geometry": {"coordinates": [1, 2, None, 4]}, "properties": None},
            {"id": "a", "geometry": {"coordinates": [1, "x", 3]}, "properties": {"mag": None, "x": 1}},
        ],
    )
    def test_taken(self, value: Any) -> None:
        assert takes(value, *self.FEATURE)

    @pytest.mark.parametrize(
        "value",
        [
            {"id": "a"},
            {"id": "a", "geometry": None},
            {"id": "a", "geometry": {"coordinates": []}},
            {"id": "a", "geometry": {"coordinates": {"0": 1}}},
            {"id": "a", "geometry": {"coordinates": [None]}},
            {"id": "a", "geometry": {"coordinates": [1, 2, "3"]}},
            {"id": "a", "geometry": {"coordinates": [1]}, "properties": {"mag": "big"}},
            {"id": "a", "geometry": {"coordinates": [1]}, "properties": 7},
        ],
    )
    def test_refused(self, value: Any) -> None:
        assert not takes(value, *self.FEATURE)

    def test_what_is_optional_all_the_way_may_be_absent_or_null_at_each_level(self) -> None:
        deep = column("x", "integer", pointer=("a", "b", 0, "c"))
        value: Any
        for value in (
            {},
            {"a": None},
            {"a": {}},
            {"a": {"b": None}},
            {"a": {"b": []}},
            {"a": {"b": [None]}},
            {"a": {"b": [{"c": 1}]}},
        ):
            assert takes(value, deep), value
        assert not takes({"a": {"b": [{"c": "1"}]}}, deep)


def test_titles_descriptions_and_examples_are_for_the_docs_page() -> None:
    stream = Stream(
        "s", "1.0.0", "Things", "About", "event", (column("a", title="A", description="Why", examples=("x",)),)
    )
    schema = json_schema(stream)
    assert (schema["title"], schema["description"]) == ("Things", "About")
    assert schema["properties"]["a"] == {
        "type": ["string", "null"],
        "title": "A",
        "description": "Why",
        "examples": ["x"],
    }


@pytest.mark.parametrize(
    ("physical", "form", "bounds"),
    [(None, None, (-(2**63), 2**63 - 1)), ("bigint", "i16", (-(2**15), 2**15 - 1)), ("int", "i64", (-(2**31), 2**31 - 1)),
     ("int", "u8", (0, 255)), (None, "u64", (-(2**63), 2**63 - 1))],
)  # fmt: skip
def test_the_tighter_of_two_statements_bounds_an_integer(physical: str, form: str, bounds: tuple[int, int]) -> None:
    assert integer_bounds(column("a", "integer", physical_type=physical, format=form)) == bounds
