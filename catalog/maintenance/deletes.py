"""The dead rows of a table, as its position delete files name them."""

from collections import OrderedDict
from collections.abc import Iterable

import pyarrow as pa
from pyarrow.fs import FileSystem

from catalog import position_deletes
from catalog.maintenance.compaction import File
from catalog.position_deletes import Positions

# Bytes of delete files that are remembered, which never change. A stream that updates rows all over a table names hundreds of
# data files in each, so what is kept is Arrow's: an object for each of these names would be ten times as much.
MOST = 48 * 1024 * 1024
OBJECT = 2_048  # what a table of Arrow takes beside its data


class DeadRows:
    """Reads delete files, and remembers what they say."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._read: OrderedDict[str, pa.Table] = OrderedDict()
        self.held = 0

    def of(self, deletes: Iterable[File]) -> dict[str, Positions]:
        """By data file, in order, each position once."""
        return position_deletes.merged([self._one(file) for file in deletes if file.parquet])

    def _one(self, file: File) -> pa.Table:
        found = self._read.get(file.path)
        if found is None:
            found = self._read[file.path] = position_deletes.read_rows(self._files, file.path)
            self.held += found.nbytes + OBJECT
            while self.held > MOST and len(self._read) > 1:
                self.held -= self._read.popitem(last=False)[1].nbytes + OBJECT
        else:
            self._read.move_to_end(file.path)
        return found
