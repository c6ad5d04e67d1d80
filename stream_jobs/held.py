"""Where silver has the rows of given keys: their positions, by the key columns of its data files alone.

The table's files and their dead rows are known between look-ups: what this writer commits it knows without reading it. Only when
somebody else has committed, which is a compaction, are manifests read again. A look-up may be behind such a commit: the writer's
own is then refused (`RowsMovedError`) where it matters.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow.fs import FileSystem
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import In
from pyiceberg.table import Table

from catalog import parquet, position_deletes
from catalog.data_files import PartitionValues, partition_values
from catalog.position_deletes import Positions
from catalog.remembered import Remembered
from stream_jobs.file_cache import FileCache
from stream_jobs.files import Kept, Position

# Above this, a list of keys skips no files that its bounds wouldn't.
LOOK_UP_BY_VALUE = 1_000
# For the key columns: those of some two million rows whose key is a UUID as text.
CACHE_BYTES = 128 * 1024 * 1024
DELETE_FILES = 1_000

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Standing:
    """(key, rank, position) of the rows found, as of a snapshot."""

    found: tuple[tuple[Key, tuple[Any, ...], Position], ...]
    snapshot: int | None


@dataclass(eq=False, slots=True)
class _File:
    """A data file. `deletes` may name rows of it, `gone` this writer has deleted since; `alive` is made of both when it is first
    looked at."""

    path: str
    spec_id: int
    partition: PartitionValues
    deletes: tuple[str, ...] = ()
    gone: list[int] = field(default_factory=list)
    alive: NDArray[np.bool_] | None = None

    def position(self, row: int) -> Position:
        return Position(self.path, row, self.spec_id, self.partition)

    def drop(self, row: int) -> None:
        if self.alive is None:
            self.gone.append(row)
        else:
            self.alive[row] = False


class Held:
    """Looks keys up in one table. `key` and `rank` are the columns that are read. Not thread-safe."""

    def __init__(
        self, catalog: Catalog, identifier: str, files: FileSystem, key: tuple[str, ...], rank: list[str]
    ) -> None:
        self._catalog = catalog
        self._identifier = identifier
        self._store = files
        self._key = key
        self._rank = rank
        self.columns = tuple(dict.fromkeys([*key, *rank]))
        self._cache = FileCache(CACHE_BYTES)
        self._deletes = Remembered[Mapping[str, Positions]](DELETE_FILES)
        self._files: dict[str, _File] | None = None  # None: not known
        self._snapshot: int | None = None

    def rows(self, keys: set[Key]) -> Standing:
        """The rows that have one of these keys, as of a snapshot that is the table's newest or one before it."""
        self._cache.begin()
        first = pa.array({key[0] for key in keys})
        found = tuple(
            (key, rank, file.position(row))
            for file in self._candidates(first)
            for key, rank, row in self._in_file(file, first)
            if key in keys
        )
        return Standing(found, self._snapshot)

    def all_keys(self) -> Iterator[pa.Table]:
        """The key columns of all rows that are not deleted, a file at a time."""
        for file in self._known().values():
            rows = self._columns(file.path)
            yield rows.select(list(self._key)).take(np.flatnonzero(self._alive(file, len(rows))))

    def committed(self, added: Iterable[Kept], replaced: Iterable[Position], snapshot: int, parent: int | None) -> None:
        """This writer has added these files and deleted these rows by a snapshot, which was made on `parent`."""
        files = self._files
        if files is None or parent != self._snapshot:
            self.forget()
            return
        for of in added:
            files[of.file] = _File(of.file, of.spec_id, of.partition)
            self._cache.put(of.file, of.columns)
        for at in replaced:
            files[at.file].drop(at.row)
        self._snapshot = snapshot

    def forget(self) -> None:
        """Somebody else has moved rows: the next look-up reads the manifests."""
        self._files = None

    def _known(self) -> dict[str, _File]:
        if self._files is None:
            self._files = self._read_manifests(self._catalog.load_table(self._identifier))
        return self._files

    def _read_manifests(self, table: Table) -> dict[str, _File]:
        snapshot = table.current_snapshot()
        self._snapshot = None if snapshot is None else snapshot.snapshot_id
        if snapshot is None:
            return {}
        specs, schema = table.specs(), table.schema()
        found = {}
        for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files():
            file = task.file
            partition = partition_values(specs[file.spec_id], schema, file.partition)
            deletes = tuple(delete.file_path for delete in task.delete_files)
            found[file.file_path] = _File(file.file_path, file.spec_id, partition, deletes)
        return found

    def _candidates(self, first: pa.Array) -> list[_File]:
        """The files that may have one of these keys; bounds and partitions are asked only where files would have to be read."""
        files = self._known()
        if len(first) > LOOK_UP_BY_VALUE or all(path in self._cache for path in files):
            return list(files.values())
        table = self._catalog.load_table(self._identifier)
        if self._snapshot is None or table.snapshot_by_id(self._snapshot) is None:  # expired meanwhile
            self._files = files = self._read_manifests(table)
        if self._snapshot is None:
            return []
        tasks = table.scan(row_filter=In(self._key[0], set(first.to_pylist())), snapshot_id=self._snapshot).plan_files()
        may = {task.file.file_path for task in tasks}
        return [file for file in files.values() if file.path in may]

    def _in_file(self, file: _File, first: pa.Array) -> Iterator[tuple[Key, tuple[Any, ...], int]]:
        rows = self._columns(file.path)
        column = rows.column(self._key[0])
        hits = np.asarray(pc.fill_null(pc.is_in(column, first.cast(column.type)), False))
        places = np.flatnonzero(hits & self._alive(file, len(rows)))
        if not len(places):
            return iter(())
        found = rows.take(places)
        keys = zip(*(found.column(name).to_pylist() for name in self._key), strict=True)
        ranks = zip(*(found.column(name).to_pylist() for name in self._rank), strict=True)
        return zip(keys, ranks, map(int, places), strict=True)

    def _alive(self, file: _File, rows: int) -> NDArray[np.bool_]:
        if file.alive is None:
            file.alive = np.ones(rows, dtype=np.bool_)
            for path in file.deletes:
                file.alive[self._deleted(path).get(file.path, position_deletes.NONE)] = False
            file.alive[file.gone] = False
        return file.alive

    def _deleted(self, path: str) -> Mapping[str, Positions]:
        """Compaction keeps delete files few; what those of the last minutes say is kept ready."""
        return self._deletes.get(path, lambda: position_deletes.read(self._store, path))

    def _columns(self, path: str) -> pa.Table:
        return self._cache.get(path, lambda: self._read_columns(path))

    def _read_columns(self, path: str) -> pa.Table:
        """As a file, for a data set would take columns from its folders' names. A column that is younger than the file is null."""
        with parquet.opened(self._store, path, pre_buffer=True) as file:
            found = file.read(columns=list(self.columns))
        for name in self.columns:
            if name not in found.column_names:
                found = found.append_column(name, pa.nulls(len(found)))
        return found
