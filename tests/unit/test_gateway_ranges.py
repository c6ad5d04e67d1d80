"""Numbers are judged as the whole schema judges them, whatever they are and whatever the contract asks."""

from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalog.contract import Column, Limits, Stream
from ingest_gateway.check import Checker
from ingest_gateway.ranges import Range, taken_out

BOUND = st.none() | st.integers(-1000, 1000) | st.decimals(-1000, 1000, places=2).map(float)
LIMITS = st.builds(
    Limits, minimum=BOUND, maximum=BOUND, exclusive_minimum=BOUND, exclusive_maximum=BOUND,
    multiple_of=st.sampled_from([None, None, 0.01, 0.25, 1, 3, 0.001]),
)  # fmt: skip
DECIMALS = st.builds(
    lambda digits, scale: f"decimal({max(digits, scale)},{scale})", st.integers(1, 17), st.integers(0, 15)
)
COLUMN = st.builds(
    lambda kind, limits, required: Column("v", "number", physical_type=kind, limits=limits, required=required, pointer=("v",)),
    st.none() | DECIMALS, LIMITS, st.booleans(),
)  # fmt: skip
NUMBER = (
    st.integers(-1100, 1100)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(-1100, 1100, places=2).map(float)
    | st.decimals(-(10**7), 10**7, places=8).map(float)
    | st.tuples(st.integers(-(10**15), 10**15), st.integers(0, 15)).map(lambda pair: pair[0] / 10 ** pair[1])
)
VALUE = st.fixed_dictionaries({}, optional={"v": NUMBER | st.none() | st.booleans() | st.text(max_size=3)})


def stream(*columns: Column) -> Stream:
    return Stream("s", "1.0.0", "S", "", "event", columns)


@given(COLUMN, st.lists(VALUE | NUMBER | st.none(), max_size=4))
@example(Column("v", "number", physical_type="decimal(10,2)", pointer=("v",)), [{"v": 0.07}, {"v": 99999999.99}])
@example(Column("v", "number", physical_type="decimal(10,2)", pointer=("v",)), [{"v": 1e8}])
@example(Column("v", "number", physical_type="decimal(15,15)", pointer=("v",)), [{"v": 0.123456789012345}])
@settings(max_examples=400)
def test_a_batch_is_valid_where_each_of_its_events_is(column: Column, values: list[Any]) -> None:
    checker = Checker(stream(column))
    assert checker.all_valid(values) == (not any(checker.violations(value) for value in values))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"physical_type": "decimal(5,2)", "limits": Limits(minimum=0)}, Range("v", 0, inf, -1000, 1000, 100.0)),
        ({"limits": Limits(exclusive_minimum=1, maximum=9.5)}, Range("v", -inf, 9.5, 1)),
        ({"limits": Limits(multiple_of=0.25)}, None),  # not a power of ten: the library's
        ({"pointer": ("at", "v")}, None),
    ],
)
def test_what_is_judged_here(facts: dict[str, Any], expected: Range | None) -> None:
    column = Column("v", "number", **{"pointer": ("v",), **facts})
    schema = Checker(stream(column)).schema
    found, rest = taken_out(schema, [column])
    assert found == ([] if expected is None else [expected])
    if expected is None:
        assert rest == schema
    else:
        assert set(rest["properties"]["v"]) <= {"type", "title", "description"}
