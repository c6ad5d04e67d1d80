"""The SQL that Explore builds: values are bound, names quoted, masked columns never read."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from ui import queries
from ui.filters import Between, Contains, Filter, OneOf, where
from ui.queries import Statement
from ui.tables import TableColumn, TableInfo

NAME = TableColumn("name", "varchar")
PRICE = TableColumn("price", "decimal(10,2)")
COUNT = TableColumn("count", "integer")
DAY = TableColumn("day", "date")
AT = TableColumn("at", "timestamp(6) with time zone")
FLAG = TableColumn("flag", "boolean")
SECRET = TableColumn("email", "varchar", classification="restricted", masked=True)
TABLE = TableInfo("silver", "things", (NAME, PRICE, COUNT, DAY, AT, FLAG, SECRET))


@pytest.mark.parametrize(
    ("chosen", "sql", "values"),
    [
        (Between(COUNT, 1, 5), '"count" >= cast(? as integer) and "count" <= cast(? as integer)', ("1", "5")),
        (Between(PRICE, Decimal("1.10")), '"price" >= cast(? as decimal(10,2))', ("1.10",)),
        (Between(DAY, None, date(2020, 2, 29)), '"day" <= ?', (date(2020, 2, 29),)),
        (Between(AT, date(2020, 1, 1), date(2020, 1, 1)), '"at" >= ? and "at" < ?',
         (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))),
        (OneOf(NAME, ("a", "b")), '"name" in (?, ?)', ("a", "b")),
        (OneOf(NAME, (None,)), '"name" is null', ()),
        (OneOf(FLAG, (True, None)), '("flag" in (?) or "flag" is null)', (True,)),
        (Contains(NAME, "100%_"), 'strpos(lower(cast("name" as varchar)), lower(?)) > 0', ("100%_",)),
    ],
)  # fmt: skip
def test_a_filter_is_a_condition_with_bound_values(chosen: Filter, sql: str, values: tuple[Any, ...]) -> None:
    condition = chosen.condition()
    assert condition is not None
    assert (condition.sql, condition.values) == (sql, values)


def test_filters_that_say_nothing_are_no_condition() -> None:
    assert where([Between(COUNT), OneOf(NAME), Contains(NAME, "")]).sql == ""


def test_masked_columns_are_replaced_in_trino() -> None:
    sql = queries.rows(TABLE, [], sort=None, descending=True, limit=10).sql
    assert "'•••' as \"email\"" in sql
    revealed = queries.rows(TABLE.revealed(), [], sort=None, descending=True, limit=10).sql
    assert "•••" not in revealed


def test_one_row_more_than_the_limit_is_asked_for() -> None:
    assert queries.rows(TABLE, [], sort="day", descending=True, limit=10).sql.endswith(
        'order by "day" desc nulls last\nlimit 11'
    )


@given(st.text(min_size=1))
def test_no_text_that_is_typed_becomes_part_of_the_statement(words: str) -> None:
    statement = queries.rows(TABLE, [Contains(NAME, words)], sort=None, descending=True, limit=1)
    assert statement.sql == queries.rows(TABLE, [Contains(NAME, "x")], sort=None, descending=True, limit=1).sql


@given(st.text(alphabet=st.characters(exclude_characters="\0"), min_size=1))
def test_no_name_of_a_table_or_column_breaks_out_of_its_quotes(name: str) -> None:
    table = TableInfo("silver", name, (TableColumn(name, "varchar"),))
    sql = queries.rows(table, [OneOf(table.columns[0], ("a",))], sort=name, descending=False, limit=1).sql
    parsed = sqlglot.parse(
        sql.replace("?", "'a'") if "?" not in name else sql.replace("in (?)", "in ('a')"), dialect="trino"
    )
    assert len(parsed) == 1
    assert isinstance(parsed[0], exp.Select)
    assert [source.name for source in parsed[0].find_all(exp.Table)] == [name]


def test_the_shown_statement_has_its_values_written_in() -> None:
    statement = Statement("select ? , ?, ?, ?", ("it's", 5, date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)))
    assert statement.readable() == ("select 'it''s' , 5, date '2020-01-01', timestamp '2020-01-01 00:00:00.000000 UTC'")


def test_a_chart_groups_in_trino_and_cuts_time() -> None:
    statement = queries.grouped(TABLE, [OneOf(NAME, ("a",))], x=AT, aggregate="sum", y=PRICE, color=NAME, unit="hour")
    assert "date_trunc('hour', \"at\") as x" in statement.sql
    assert 'sum("price") as value' in statement.sql
    assert statement.sql.count("group by 1, 2") == 1
    assert statement.values == ("a",)


@pytest.mark.parametrize(("aggregate", "unit"), [("count(*)--", None), ("sum", "day'")])
def test_only_known_aggregates_and_steps_are_charted(aggregate: str, unit: str | None) -> None:
    with pytest.raises(ValueError, match=r".*"):
        queries.grouped(TABLE, [], x=AT, aggregate=aggregate, y=PRICE, unit=unit)


def test_totals_come_from_snapshots_alone() -> None:
    sql = queries.stream_totals([("bronze", "orders"), ("silver", "orders"), ("gold", "x")]).sql
    assert sql.count("union all") == 1
    assert '"bronze"."orders$snapshots"' in sql
    assert 'from "bronze"."orders" ' not in sql
