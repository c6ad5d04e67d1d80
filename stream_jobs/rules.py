"""Rules that a contract writes as SQL expressions, judged by DuckDB in this process over Arrow columns.

The contract's dialect is Spark SQL, as ODCS tools write it; sqlglot says it in DuckDB's.
"""

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
import sqlglot

from catalog.contract import Rule, Stream
from catalog.errors import SluiceError
from stream_jobs.checks import Mask


class SqlRules:
    """The SQL rules of severity error of one stream. Not thread-safe. Raises SluiceError where one cannot be understood."""

    def __init__(self, stream: Stream, schema: pa.Schema) -> None:
        self.rules: list[Rule] = [r for r in stream.rules if r.severity == "error" and r.expression is not None]
        if not self.rules:
            return
        self._connection = duckdb.connect(config={"threads": "1", "memory_limit": "256MB"})
        self._connection.execute("set TimeZone = 'UTC'")
        self._connection.execute("set enable_external_access = false")  # a rule judges a row, and reads no files
        good = [f"coalesce(({_in_duckdb(rule)}), true)" for rule in self.rules]
        self._all = f"select {', '.join(f'not {each}' for each in good)} from typed"
        self._row_by_row = f"select {', '.join(f'not coalesce(try({each}), false)' for each in good)} from typed"
        for rule, each in zip(self.rules, good, strict=True):
            try:
                self._ask(f"select not {each}, try({each}) from typed", schema.empty_table())
            except duckdb.Error as failure:
                reason = str(failure).splitlines()[0]
                raise SluiceError(f"contract {stream.name}: rule {rule.name}: {rule.expression!r}: {reason}") from None

    def broken(self, typed: pa.Table) -> list[Mask]:
        """For each rule the rows for which it is false. Null counts as true; a row that it can't be computed for breaks it."""
        if not self.rules:
            return []
        try:
            return self._ask(self._all, typed)
        except (duckdb.DataError, duckdb.ProgrammingError):
            return self._ask(self._row_by_row, typed)

    def _ask(self, sql: str, typed: pa.Table) -> list[Mask]:
        self._connection.register("typed", typed)
        try:
            found: pa.Table = self._connection.sql(sql).to_arrow_table()
        finally:
            self._connection.unregister("typed")
        return [np.asarray(column.to_numpy(), dtype=np.bool_) for column in found.columns]


def _in_duckdb(rule: Rule) -> str:
    said: Sequence[str] = sqlglot.transpile(rule.expression or "true", read="spark", write="duckdb")
    return said[0]
