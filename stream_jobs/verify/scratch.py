"""A place to compare what does not fit into memory: DuckDB with a limit, in a file that vanishes with the check.

A row of a table is one line of fixed size here: its place (`p`, `o`) and 64-bit hashes of what it holds.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from stream_jobs.verify.report import Range
from stream_jobs.verify.settings import VerifySettings


class Scratch:
    """Tables of one check. Not thread-safe."""

    def __init__(self, folder: Path, memory: str) -> None:
        self._db = duckdb.connect(
            str(folder / "verify.duckdb"),
            config={"memory_limit": memory, "temp_directory": str(folder / "spill"), "threads": "2"},
        )
        self._db.execute("set TimeZone = 'UTC'")
        self._db.execute("set preserve_insertion_order = false")

    def close(self) -> None:
        """The file stays; its folder goes with the check."""
        self._db.close()

    def make(self, table: str, columns: str) -> None:
        """A table with these columns, in SQL."""
        self._db.execute(f"create table {table} ({columns})")

    def add(self, table: str, rows: pa.Table, select: str) -> None:
        """`select` computes the table's columns from `rows`."""
        self._db.register("rows", rows)
        try:
            self._db.execute(f"insert into {table} select {select} from rows")
        finally:
            self._db.unregister("rows")

    def add_as(self, table: str, rows: pa.Table, select: str) -> None:
        """A new table with the types of what `select` computes from `rows`, which may be none."""
        self._db.register("rows", rows)
        try:
            self._db.execute(f"create table {table} as select {select} from rows")
        finally:
            self._db.unregister("rows")

    def run(self, sql: str) -> None:
        """A statement without a result."""
        self._db.execute(sql)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        return self._db.execute(sql, parameters).fetchall()

    def one(self, sql: str) -> int:
        """A single number."""
        return int(self.ask(sql)[0][0] or 0)

    def ranges(self, places: str) -> Iterator[Range]:
        """Neighbouring offsets of a query with columns `p` and `o`, in order. A place that comes twice counts once."""
        found = self._db.cursor().execute(
            f"""select p, min(o), max(o) + 1 from
                (select p, o, o - row_number() over (partition by p order by o) as island
                 from (select distinct p, o from ({places})))
                group by p, island order by 1, 2"""
        )
        while rows := found.fetchmany(10_000):
            yield from (Range(int(p), int(start), int(end)) for p, start, end in rows)

    def gaps(self, places: str, ends: dict[int, int]) -> Iterator[Range]:
        """Offsets from 0 to each partition's end that a query with columns `p` and `o` lacks, in order."""
        for partition, end in sorted(ends.items()):
            found = self._db.cursor().execute(
                f"""select o + 1, following from
                    (select o, lead(o, 1, {end}) over (order by o) as following from
                     (select distinct o from ({places}) where p = {partition} and o < {end} union all select -1))
                    where following > o + 1 order by o"""
            )
            while rows := found.fetchmany(10_000):
                yield from (Range(partition, int(start), int(stop)) for start, stop in rows)


@contextmanager
def scratch(settings: VerifySettings) -> Iterator[Scratch]:
    """An empty one, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sluice-verify-", dir=settings.scratch) as folder:
        made = Scratch(Path(folder), settings.memory)
        try:
            yield made
        finally:
            made.close()
