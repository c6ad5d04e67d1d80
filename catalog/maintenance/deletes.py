"""The dead rows of a table, as its position delete files name them."""

from collections.abc import Iterable

import pyarrow as pa
from pyarrow.fs import FileSystem

from catalog import position_deletes
from catalog.maintenance.compaction import File
from catalog.position_deletes import Positions
from catalog.remembered import Remembered

# Bytes of delete files that are remembered, which never change. A stream that updates rows all over a table names hundreds of
# data files in each, so what is kept is Arrow's: an object for each of these names would be ten times as much.
MOST = 48 * 1024 * 1024
OBJECT = 2_048  # what a table of Arrow takes beside its data


class DeadRows:
    """Reads delete files, and remembers what they say."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self.remembered = Remembered[pa.Table](MOST, lambda rows: rows.nbytes + OBJECT)

    def of(self, deletes: Iterable[File]) -> dict[str, Positions]:
        """By data file, in order, each position once."""
        return position_deletes.merged([self._one(file.path) for file in deletes if file.parquet])

    def _one(self, path: str) -> pa.Table:
        return self.remembered.get(path, lambda: position_deletes.read_rows(self._files, path))
