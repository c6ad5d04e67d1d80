"""Rules in Spark SQL, judged by DuckDB."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from catalog.contract import Rule
from catalog.errors import SluiceError
from stream_jobs.rules import SqlRules
from stream_jobs.types import UTC_TIMESTAMP
from tests.batches import stream

ROWS: list[dict[str, Any]] = [
    {"n": 5, "d": 2.0, "p": Decimal("1.50"), "s": "ab", "end": 1, "t": datetime(2026, 1, 1, 23, tzinfo=UTC), "day": date(2026,
    1, 1),
     "l": ["x", "y"], "o": {"street": "a", "no": 1}, "typed": True},
    {"n": 2**31 - 1, "d": 0.0, "p": Decimal("99.99"), "s": "x1", "end": 2, "t": datetime(1, 1, 1, tzinfo=UTC),
    "day": date(9999, 12, 31),
     "l": [], "o": {"street": None, "no": None}, "typed": False},
    {"n": None, "d": None, "p": None, "s": None, "end": None, "t": None, "day": None, "l": None, "o": None, "typed": None},
]  # fmt: skip
SCHEMA = pa.schema(
    [("n", pa.int32()), ("d", pa.float64()), ("p", pa.decimal128(4, 2)), ("s", pa.string()), ("end", pa.int64()), ("t",
    UTC_TIMESTAMP),
     ("day", pa.date32()), ("l", pa.list_(pa.string())), ("o", pa.struct([("street", pa.string()), ("no", pa.int64())])),
     ("typed", pa.bool_())]
)  # fmt: skip
TABLE = pa.Table.from_pylist(ROWS, schema=SCHEMA)


def rules(*expressions: str) -> SqlRules:
    return SqlRules(
        stream(rules=[Rule(f"r{n}", None, "error", "", expression=e) for n, e in enumerate(expressions)]), SCHEMA
    )


def good(expression: str) -> list[bool]:
    (mask,) = rules(expression).broken(TABLE)
    return [not each for each in mask.tolist()]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("n <= 10", [True, False, True]),
        ("N <= 10 and S = 'ab'", [True, False, True]),
        ("n is not null", [True, True, False]),
        ("not (n > 10)", [True, False, True]),
        ("n / 2 = 2.5", [True, False, True]),
        ("n div 2 = 2", [True, False, True]),
        ("n % 2 = 1", [True, True, True]),
        ("n / d > 1", [True, True, True]),
        ("d > 1 / 0", [True, True, True]),
        ("p * 2 = 3", [True, False, True]),
        ('s = "ab"', [True, False, True]),
        (r"s rlike '^[a-z]+\\d$'", [False, True, True]),
        ("s like 'a%'", [True, False, True]),
        ("cast(s as int) > 0", [True, True, True]),
        ("length(s) = 2 and upper(s) = 'AB'", [True, False, True]),
        ("substring(s, 1, 1) = 'a'", [True, False, True]),
        ("end = 1 and `end` < 5", [True, False, True]),
        ("typed", [True, False, True]),
        ("hour(t) = 23", [True, False, True]),
        ("t >= timestamp'2020-01-01T00:00:00Z'", [True, False, True]),
        ("cast(t as date) = day", [True, False, True]),
        ("datediff(day, date'2025-12-31') = 1", [True, False, True]),
        ("size(l) > 0", [True, False, True]),
        ("l[0] = 'x'", [True, True, True]),
        ("array_contains(l, 'x')", [True, False, True]),
        ("o.street = 'a'", [True, True, True]),
        ("s in ('ab', 'c') -- a comment", [True, False, True]),
        ("s <=> 'ab'", [True, False, False]),
    ],
)
def test_expressions(expression: str, expected: list[bool]) -> None:
    assert good(expression) == expected


def test_a_row_that_a_rule_cannot_be_computed_for_breaks_it_alone() -> None:
    """The product is too great for the column's 32 bits."""
    assert good("n * 2 > 1") == [True, False, True]
    many = pa.concat_tables([TABLE] * 3_000)
    first, second = rules("n * 2 > 1", "n > 5").broken(many)
    assert first.tolist() == [False, True, False] * 3_000
    assert second.tolist() == [True, False, False] * 3_000


def test_no_row_is_blamed_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = rules("n > 1")

    def short(*_: object) -> None:
        raise duckdb.OutOfMemoryException("failed to allocate")

    monkeypatch.setattr(judge, "_ask", short)
    with pytest.raises(duckdb.OutOfMemoryException):
        judge.broken(TABLE)


@pytest.mark.parametrize(
    "expression",
    [
        "missing > 1",
        "no_such(n)",
        "n + 's'",
        "pmod(n, 2) = 1",
        "s",
        "exists(l, x -> x = 'a')",
        "read_text('/etc/hostname') = 's'",
    ],
)
def test_what_cannot_be_understood_is_told_at_the_start(expression: str) -> None:
    with pytest.raises(SluiceError, match="contract s: rule r0"):
        rules(expression)


def test_rules_read_no_files(tmp_path: Any) -> None:
    (tmp_path / "f").write_text("x")
    judge = rules("n > 1")
    with pytest.raises(duckdb.PermissionException):
        judge._ask(f"select * from read_text('{tmp_path}/f')", TABLE)


def test_nothing_is_asked_where_there_are_no_rules() -> None:
    warning = Rule("r", None, "warning", "", expression="n > 1")
    assert SqlRules(stream(rules=[warning]), SCHEMA).broken(TABLE) == []
