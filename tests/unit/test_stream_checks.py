"""What a contract forbids of single columns. Where the gateway judges the same, it says the same."""

import json
from itertools import product
from typing import Any

import msgspec
import pytest

from catalog.contract import Column, Limits, Rule
from ingest_gateway.check import Checker
from tests.batches import column, refined, stream, verdicts
from tests.unit.test_stream_refine import FORMATS, PATTERNS

TEXTS = (
    "", "a", "aa", "A1", "TEST1", "5", "٣", "é", "É", " ", "\u00a0", "\v", "\n", "a\n", "A1\n", "\r", "\u2028", "\ufeff", "x",
    "ax", "a x", "日本", "👍",
    "abab", "ab c", "a.b", "\0", "_", "ß",
)  # fmt: skip


def broken(of: Column, *values: str, rules: tuple[Rule, ...] = ()) -> list[tuple[str, ...]]:
    """For each JSON text the rules that it breaks."""
    found = verdicts(refined(stream(of, rules=rules), *(b'{"v":%b}' % value.encode() for value in values)))
    return [found[number] for number in range(len(values))]


def gateway_refuses(of: Column, value: str) -> bool:
    return bool(Checker(stream(of)).violations({"v": msgspec.json.decode(value)}))


@pytest.mark.parametrize(
    ("facts", "texts"),
    [
        *(({"limits": Limits(pattern=pattern)}, TEXTS) for pattern in PATTERNS),
        *(({"format": form}, (*values, *TEXTS)) for form, values in FORMATS.items()),
        ({"limits": Limits(min_length=2, max_length=2)}, TEXTS),
        ({"allowed": ("a", "é", "")}, TEXTS),
    ],
    ids=str,
)
def test_texts_are_judged_as_at_the_gateway(facts: dict[str, Any], texts: tuple[str, ...]) -> None:
    of = column("v", **facts)
    values = [json.dumps(text) for text in texts]
    assert [bool(rules) for rules in broken(of, *values)] == [gateway_refuses(of, value) for value in values]


NUMBERS = (
    "0",
    "1",
    "-1",
    "3",
    "0.1",
    "0.3",
    "0.30000000000000004",
    "0.07",
    "1.1",
    "2.5",
    "10",
    "-10.5",
    "100",
    "1e3",
    "16777216",
)


@pytest.mark.parametrize(
    ("facts", "limits"),
    product(
        [
            {"kind": "number"}, {"kind": "number", "physical_type": "float"}, {"kind": "number",
            "physical_type": "decimal(12,2)"},
            {"kind": "integer"}, {"kind": "integer", "physical_type": "int"},
        ],
        [
            Limits(minimum=0.1), Limits(maximum=0.1), Limits(minimum=1, maximum=10), Limits(exclusive_minimum=1,
            exclusive_maximum=10),
            Limits(minimum=0.5), Limits(maximum=2.5), Limits(exclusive_minimum=-0.5), Limits(exclusive_maximum=2.5),
            Limits(minimum=-1e300, maximum=10**30), Limits(minimum=10**30), Limits(maximum=-(2**70)),
            Limits(exclusive_maximum=1e-20),
            Limits(multiple_of=3), Limits(multiple_of=0.1), Limits(multiple_of=0.01), Limits(multiple_of=2.5),
        ],
    ),
    ids=str,
)  # fmt: skip
def test_numbers_are_judged_as_at_the_gateway(facts: dict[str, Any], limits: Limits) -> None:
    of = column("v", limits=limits, **facts)
    fitting = [value for value in NUMBERS if broken(column("v", **facts), value) == [()]]
    # 0.30000000000000004 has no other number near it in 32 bits than 0.3.
    fitting = [value for value in fitting if len(value) < 10 or facts.get("physical_type") != "float"]
    for values in (fitting, [*fitting, "null"]):
        assert [bool(rules) for rules in broken(of, *values)] == [gateway_refuses(of, value) for value in values]


@pytest.mark.parametrize("value", ["1e300", "-1e308", "5e-324", "12345678901234567890"])
def test_no_number_is_too_great_or_small_to_be_judged(value: str) -> None:
    for facts, limits in product(
        [{}, {"physical_type": "decimal(38,18)"}, {"physical_type": "float"}],
        [
            Limits(multiple_of=0.01),
            Limits(multiple_of=1e-20),
            Limits(minimum=-1e300),
            Limits(maximum=1e-300),
            Limits(minimum=10**400),
        ],
    ):
        if limits.minimum == 10**400 and "decimal" not in facts.get("physical_type", ""):
            continue
        broken(column("v", "number", limits=limits, **facts), value)


def test_bounds_of_moments() -> None:
    day = column("v", "date", limits=Limits(minimum="2020-01-01", exclusive_maximum="2021-01-01"))
    assert broken(day, '"2020-01-01"', '"2019-12-31"', '"2021-01-01"') == [(), ("minimum",), ("exclusiveMaximum",)]
    noon = Limits(minimum="2020-01-01T12:00:00+01:00")
    for facts, values in (
        ({}, ('"2020-01-01T11:00:00Z"', '"2020-01-01T10:59:59.999999Z"')),
        ({"encoding": "epoch-millis"}, ("1577876400000", "1577876399999")),
        ({"encoding": "epoch-seconds"}, ("1577876400", "1577876399.5")),
    ):
        assert broken(column("v", "timestamp", limits=noon, **facts), *values) == [(), ("minimum",)]
    for bound in ("2020-01-01", "2020-01-01T00:00", "20200101T000000Z"):
        of = column("v", "timestamp", limits=Limits(maximum=bound))
        assert broken(of, '"2020-01-01T00:00:00Z"', '"2020-01-01T00:00:01Z"') == [(), ("maximum",)]
    german = column(
        "v", "date", format="dd.MM.yyyy", limits=Limits(maximum="31.12.2020"), allowed=("31.12.2020", "01.01.2021")
    )
    assert broken(german, '"31.12.2020"', '"01.01.2021"', '"30.12.2020"') == [(), ("maximum",), ("enum",)]


def test_lists_and_objects() -> None:
    limits = Limits(min_items=1, max_items=2, unique_items=True)
    of = column("v", "array", items=column("i", "integer"), limits=limits)
    values = ["[]", "[1]", "[1,2]", "[1,1.0]", "[1,2,3]", "[null,null]", "[null]"]
    assert broken(of, *values) == [("minItems",), (), (), ("uniqueItems",), ("maxItems",), ("uniqueItems",), ()]
    assert [gateway_refuses(of, value) for value in values] == [True, False, False, True, True, True, False]
    lines = column(
        "v",
        "array",
        items=column("i", "object", fields=(column("a"), column("l", "array", items=column("j")))),
        limits=Limits(unique_items=True),
    )
    assert broken(lines, '[{"a":"x"},{"a":"y"}]', '[{"a":"x","l":["z"]},{"l":["z"],"a":"x"}]') == [(), ("uniqueItems",)]
    inner = column("v", "object", fields=(column("a", required=True), column("b")))
    assert broken(inner, '{"a":"x"}', '{"b":"x"}', '{"a":null}', "null") == [(), ("required",), ("required",), ()]


@pytest.mark.timeout(60)
def test_a_long_list_is_judged_in_time() -> None:
    of = column("v", "array", items=column("i", "integer"), limits=Limits(unique_items=True))
    numbers = ",".join(map(str, range(200_000)))
    assert broken(of, f"[{numbers}]", f"[{numbers},7]") == [(), ("uniqueItems",)]


@pytest.mark.timeout(60)
def test_no_text_makes_a_pattern_run_long() -> None:
    of = column("v", limits=Limits(pattern="^(?=a)(a+)+$"))
    assert broken(of, '"aaa"', '"' + "a" * 5_000 + '!"') == [(), ("pattern",)]


def test_a_value_that_is_not_there_breaks_only_required() -> None:
    limits = Limits(pattern="^x", min_length=1, max_length=2)
    assert broken(column("v", limits=limits, allowed=("x",), format="uuid"), "null") == [()]
    assert broken(column("v", required=True, limits=limits, allowed=("x",)), "null") == [("required",)]
    assert broken(column("v", "integer", required=True, limits=Limits(minimum=1)), '"x"') == [("type",)]


def test_an_object_of_any_depth_is_compared() -> None:
    """Also of a depth that can just be decoded."""
    objects = ['{"a":' + "[" * depth + "]" * depth + "}" for depth in (100, *range(800, 1_000), 5_000)]
    found = broken(column("v", "object", allowed=({},)), *objects)
    assert found[0] == ("enum",)
    assert set(found) == {("enum",), ("json",)}


def test_a_limit_that_says_nothing_of_its_type_is_passed_over_as_at_the_gateway() -> None:
    everything = Limits(
        minimum=9, exclusive_maximum=1, multiple_of=7, min_length=9, pattern="^q$", min_items=9, unique_items=True
    )
    for kind, value in (("boolean", "true"), ("object", "{}"), ("array", "[]")):
        assert broken(column("v", kind, limits=everything), value) == [()]
    assert broken(column("v", limits=Limits(minimum=9, multiple_of=7)), '"a"') == [()]
    assert broken(column("v", "integer", limits=Limits(min_length=9, pattern="^q$", max_items=0)), "5") == [()]


def test_rules_of_one_column() -> None:
    def rule(**facts: Any) -> tuple[Rule, ...]:
        return (Rule("r", "v", facts.pop("severity", "error"), "", **facts),)

    word = column("v")
    assert broken(word, '"a"', '"b"', "null", rules=rule(allowed=("a",))) == [(), ("r",), ()]
    assert broken(word, '"a"', '"b"', "null", rules=rule(pattern="^a$")) == [(), ("r",), ()]
    assert broken(word, '"ax"', '"a"', '"x"', rules=rule(pattern="^a", allowed=("ax", "x"))) == [(), ("r",), ("r",)]
    assert broken(word, '""', "null", rules=rule(not_null=True)) == [(), ("r",)]
    assert broken(word, '"b"', rules=rule(allowed=("a",), severity="warning")) == [()]
    assert broken(column("v", "integer"), "2026", "26", rules=rule(pattern=r"^\d{4}$")) == [(), ("r",)]
    price = column("v", "number", physical_type="decimal(5,2)")
    assert broken(price, "1.5", "2", "0.01", rules=rule(allowed=(1.5, 2, 0.012))) == [(), (), ("r",)]
