"""The SQL page runs what reads and nothing else, however it is written."""

import pytest

from ui.readonly import refusal

READS = [
    "select 1",
    "  -- a comment\nSELECT 1;",
    "/* one */ /* two */ with a as (select 1) select * from a",
    "(select 1) union all (select 2)",
    "values 1, 2",
    "table gold.strikes_by_species",
    "show tables from gold",
    "describe silver.orders",
    "DESC silver.orders",
    "explain delete from silver.orders",
    "explain (type distributed) select 1",
    "explain analyze select 1",
    "explain analyze verbose\n/* x */ with a as (select 1) table a",
    "select 'drop table x; delete from y'",
]
CHANGES = [
    "delete from silver.orders",
    "insert into silver.orders select * from silver.orders",
    "/* select */ drop table silver.orders",
    "-- select 1\ndrop table silver.orders",
    # Comments do not nest in Trino: it sees the DELETE, a parser that nests them sees only the SELECT.
    "/* /* */ delete from silver.orders -- */ select 1",
    "explain analyze delete from silver.orders",
    "explain analyze verbose insert into a select 1",
    "explain /* */ analyze /* */ update a set b = 1",
    "create table gold.x as select 1",
    "alter table silver.orders execute optimize",
    "call lake.system.rollback_to_snapshot('a', 'b', 1)",
    "set session query_max_run_time = '1s'",
    "execute immediate 'delete from silver.orders'",
    "prepare p from delete from a",
    "grant select on a to b",
    "\ufeffdelete from a",
    "1",
]


@pytest.mark.parametrize("sql", READS)
def test_reading_statements_run(sql: str) -> None:
    assert refusal(sql) is None


@pytest.mark.parametrize("sql", CHANGES)
def test_other_statements_are_refused_with_the_reason(sql: str) -> None:
    assert refusal(sql)


@pytest.mark.parametrize("sql", ["", "  \n", "-- nothing", ";", "/* nothing */ ;"])
def test_nothing_to_run_is_said_so(sql: str) -> None:
    assert refusal(sql) == "There is no statement to run."


def test_the_refusal_names_the_word() -> None:
    assert "DELETE" in str(refusal("delete from silver.orders"))
