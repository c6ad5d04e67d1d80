"""Rules as Trino's SQL, and what a number must be."""

from decimal import Decimal
from typing import Any

import pytest

from catalog.contract import Bound, Check, Column, Rule, Stream
from catalog.odcs_checks import filled
from catalog.quality import BROKEN, FAILED, KEPT, Judged, holds, words
from catalog.quality_sql import broken, counted

COLUMNS = (
    Column("a", "string"), Column("n", "integer"), Column("x", "number"), Column("on", "boolean"), Column("day", "date"),
    Column("at", "timestamp"), Column("ms", "timestamp", encoding="epoch-millis"),
)  # fmt: skip
STREAM = Stream("s", "1.0.0", "S", "", "event", COLUMNS)


def rule(column: str | None = "a", **facts: Any) -> Rule:
    return Rule("r", column, "error", "m", **facts)


@pytest.mark.parametrize(
    ("judged", "sql"),
    [
        (rule(not_null=True), '"a" is null'),
        (rule(allowed=("x", "it's")), """not coalesce("a" in ('x', 'it''s'), true)"""),
        (rule(pattern="^[a-z]'$"), """not coalesce(regexp_like("a", '^[a-z]''$'), true)"""),
        (rule(allowed=("x",), pattern="x"), """not coalesce("a" in ('x') and regexp_like("a", 'x'), true)"""),
        (rule("n", allowed=(1, 2)), 'not coalesce("n" in (1, 2), true)'),
        (rule("x", allowed=(1.5,)), 'not coalesce("x" in (1.5), true)'),
        (rule("on", allowed=(True,)), 'not coalesce("on" in (true), true)'),
        (rule("day", allowed=("2026-01-01",)), """not coalesce("day" in (date '2026-01-01'), true)"""),
        (rule("at", allowed=("2026-01-01T00:00:00Z",)),
         """not coalesce("at" in (from_iso8601_timestamp('2026-01-01T00:00:00Z')), true)"""),
        (rule("ms", allowed=(1500,)), 'not coalesce("ms" in (from_unixtime(1500 / 1000e0)), true)'),
        (rule(None, expression="n <= 1000"), 'not coalesce(try(coalesce(("n" <= 1000), true)), false)'),
    ],
)  # fmt: skip
def test_rows_that_break_a_rule(judged: Rule, sql: str) -> None:
    assert broken(judged, STREAM) == sql


def test_an_expression_is_said_in_trinos_words() -> None:
    sql = broken(
        rule(None, expression="date_of_birth is null or date_of_birth < cast(at as date) and a rlike 'x'"), STREAM
    )
    assert """REGEXP_LIKE("a", 'x')""" in sql


def check(metric: str, **facts: Any) -> Check:
    return Check("c", "error", "m", metric, Bound("mustBe", 0), **facts)


@pytest.mark.parametrize(
    ("counts", "sql"),
    [
        (check("rowCount"), "count(*)"),
        (check("duplicateValues", columns=("a",)), 'count("a") - count(distinct "a")'),
        (check("duplicateValues", columns=("a", "n")), 'count(row("a", "n")) - count(distinct row("a", "n"))'),
        (check("nullValues", columns=("a",), rule=rule(not_null=True)), 'count_if("a" is null)'),
    ],
)
def test_what_is_counted(counts: Check, sql: str) -> None:
    assert counted(counts, STREAM) == sql


def test_placeholders() -> None:
    query = "select ${column}, {field}, '{other}' from ${table} join {object}"
    assert filled(query, '"s"', '"a"') == """select "a", "a", '{other}' from "s" join "s\""""


@pytest.mark.parametrize(
    ("operator", "operand", "kept", "not_kept", "said"),
    [
        ("mustBe", 5, [5, 5.0, Decimal(5)], [4, "5a", None, True], "= 5"),
        ("mustBe", "ok", ["ok"], ["OK", 1, None], "= ok"),
        ("mustBe", True, [True], [False], "= true"),
        ("mustNotBe", 5, [4, None], [5], "≠ 5"),
        ("mustBeGreaterThan", 5, [6], [5], "> 5"),
        ("mustBeGreaterOrEqualTo", 5, [5], [4], "≥ 5"),
        ("mustBeLessThan", 5, [4, Decimal("4.9")], [5], "< 5"),
        ("mustBeLessOrEqualTo", 2.5, [2.5], [2.6], "≤ 2.5"),
        ("mustBeBetween", (1, 3), [1, 3], [0, 4], "1 to 3"),
        ("mustNotBeBetween", (1, 3), [0, 4], [1, 3], "not 1 to 3"),
    ],
)
def test_bounds(operator: str, operand: Any, kept: list[Any], not_kept: list[Any], said: str) -> None:
    bound = Bound(operator, operand)
    assert [holds(bound, value) for value in kept + not_kept] == [True] * len(kept) + [False] * len(not_kept)
    assert words(bound) == said


@pytest.mark.parametrize("value", [None, "7", True, float("nan")])
def test_what_is_no_number_has_no_order(value: Any) -> None:
    with pytest.raises(TypeError, match="no number"):
        holds(Bound("mustBeLessThan", 5), value)


@pytest.mark.parametrize(
    ("outcome", "severity", "ok"),
    [(KEPT, "error", True), (BROKEN, "error", False), (BROKEN, "warning", True), (FAILED, "warning", False)],
)
def test_a_warning_may_be_broken_but_must_be_judged(outcome: Any, severity: Any, ok: bool) -> None:
    assert Judged("s", "r", severity, "rows", None, "= 0", outcome, None).ok is ok
