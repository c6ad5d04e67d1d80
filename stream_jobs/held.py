"""Where silver has the rows of given keys: their positions, read from the key columns of its data files alone."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, In
from pyiceberg.table import FileScanTask

from catalog import position_deletes
from catalog.data_files import partition_values
from catalog.position_deletes import Positions
from stream_jobs.file_cache import FileCache
from stream_jobs.files import Position

# Above this, a list of keys skips no files that its bounds wouldn't.
LOOK_UP_BY_VALUE = 1_000
# For the key columns: those of some two million rows whose key is a UUID as text.
CACHE_BYTES = 128 * 1024 * 1024
DELETE_FILES = 1_000


@dataclass(frozen=True)
class Standing:
    """(key, rank, position) of the rows found, as of a snapshot."""

    found: tuple[tuple[tuple[Any, ...], tuple[Any, ...], Position], ...]
    snapshot: int | None


class Held:
    """Looks keys up in one table. `key` and `rank` are the columns that are read. Not thread-safe."""

    def __init__(
        self, catalog: Catalog, identifier: str, files: FileSystem, key: tuple[str, ...], rank: list[str]
    ) -> None:
        self._catalog = catalog
        self._identifier = identifier
        self._files = files
        self._key = key
        self._rank = rank
        self._cache = FileCache(CACHE_BYTES)
        self._deletes: OrderedDict[str, Mapping[str, Positions]] = OrderedDict()

    def rows(self, keys: set[tuple[Any, ...]]) -> Standing:
        """The rows that have one of these keys, in the table's current snapshot."""
        self._cache.begin()
        table = self._catalog.load_table(self._identifier)
        snapshot = table.current_snapshot()
        if snapshot is None:
            return Standing((), None)
        first = pa.array({key[0] for key in keys})
        wanted: BooleanExpression = (
            In(self._key[0], set(first.to_pylist())) if len(first) <= LOOK_UP_BY_VALUE else AlwaysTrue()
        )
        tasks = table.scan(row_filter=wanted, snapshot_id=snapshot.snapshot_id).plan_files()
        specs, schema = table.specs(), table.schema()

        def of(task: FileScanTask) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], Position]]:
            file = task.file
            partition = partition_values(specs[file.spec_id], schema, file.partition)
            for key, rank, row in self._in_file(task, first):
                if key in keys:
                    yield key, rank, Position(file.file_path, row, file.spec_id, partition)

        return Standing(tuple(found for task in tasks for found in of(task)), snapshot.snapshot_id)

    def all_keys(self) -> Iterator[pa.Table]:
        """The key columns of all rows that are not deleted, a file at a time."""
        table = self._catalog.load_table(self._identifier)
        for task in table.scan().plan_files():
            rows = self._columns(task.file.file_path).select(list(self._key))
            yield rows.take(np.flatnonzero(self._alive(task, len(rows))))

    def _in_file(self, task: FileScanTask, first: pa.Array) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], int]]:
        rows = self._columns(task.file.file_path)
        column = rows.column(self._key[0])
        hits = np.asarray(pc.fill_null(pc.is_in(column, first.cast(column.type)), False)) & self._alive(task, len(rows))
        places = np.flatnonzero(hits)
        found = rows.take(places)
        keys = zip(*(found.column(name).to_pylist() for name in self._key), strict=True)
        ranks = zip(*(found.column(name).to_pylist() for name in self._rank), strict=True)
        return zip(keys, ranks, map(int, places), strict=True)

    def _alive(self, task: FileScanTask, rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        alive = np.ones(rows, dtype=np.bool_)
        for delete in task.delete_files:
            alive[self._deleted(delete.file_path).get(task.file.file_path, position_deletes.NONE)] = False
        return alive

    def _deleted(self, path: str) -> Mapping[str, Positions]:
        """Compaction keeps delete files few; what those of the last minutes say is kept ready."""
        found = self._deletes.get(path)
        if found is None:
            found = self._deletes[path] = position_deletes.read(self._files, path)
            while len(self._deletes) > DELETE_FILES:
                self._deletes.popitem(last=False)
        else:
            self._deletes.move_to_end(path)
        return found

    def _columns(self, path: str) -> pa.Table:
        columns = list(dict.fromkeys([*self._key, *self._rank]))
        return self._cache.get(path, lambda: self._read_columns(path, columns))

    def _read_columns(self, path: str, columns: list[str]) -> pa.Table:
        """As a file, for a data set would take columns from its folders' names. A column that is younger than the file is null."""
        with (
            self._files.open_input_file(path.split("://", 1)[1]) as source,
            pq.ParquetFile(source, pre_buffer=True) as file,
        ):
            found = file.read(columns=columns)
        for name in columns:
            if name not in found.column_names:
                found = found.append_column(name, pa.nulls(len(found)))
        return found
