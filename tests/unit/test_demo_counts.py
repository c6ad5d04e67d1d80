"""What the demo counts while dbt is at work."""

from collections.abc import Sequence
from typing import Any

from infra.demo.counts import Lake


class Answering(Lake):
    """Trino with these tables in gold; of one that it is not asked to count it knows nothing."""

    def __init__(self, tables: Sequence[str]) -> None:
        self.tables = tables

    def rows(self, sql: str, parameters: Sequence[Any] | None = None) -> list[list[Any]]:
        if "information_schema" in sql:
            return [[name] for name in self.tables]
        assert "__dbt" not in sql, "it may be gone before it is counted"
        return [[number for number, _ in enumerate(sql.split(","))]]


def test_a_table_that_is_being_built_is_not_counted() -> None:
    passing = ["by_day", "by_minute", "by_minute__dbt_tmp", "by_minute__dbt_backup"]
    assert Answering(passing).gold() == {"by_day": 0, "by_minute": 1}
    assert Answering(["by_minute__dbt_tmp"]).gold() == {}
