"""The dead rows of a table, as its position delete files name them."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from pyarrow.fs import FileSystem

from catalog import position_deletes
from catalog.maintenance.compaction import File
from catalog.position_deletes import Positions

# Positions that are remembered, 8 bytes each; delete files never change.
MOST = 4_000_000


class DeadRows:
    """Reads delete files, and remembers what they say."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._read: OrderedDict[str, Mapping[str, Positions]] = OrderedDict()
        self._held = 0

    def of(self, deletes: Iterable[File]) -> dict[str, Positions]:
        """By data file, in order, each position once."""
        return position_deletes.merged([self._one(file) for file in deletes if file.parquet])

    def _one(self, file: File) -> Mapping[str, Positions]:
        found = self._read.get(file.path)
        if found is None:
            found = self._read[file.path] = position_deletes.read(self._files, file.path)
            self._held += _count(found)
            while self._held > MOST and len(self._read) > 1:
                self._held -= _count(self._read.popitem(last=False)[1])
        else:
            self._read.move_to_end(file.path)
        return found


def _count(found: Mapping[str, Positions]) -> int:
    return sum(map(len, found.values()))
