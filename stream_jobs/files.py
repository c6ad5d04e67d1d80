"""Arrow tables → data files and position delete files in the object store, which belong to no snapshot yet."""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyarrow.fs import FileSystem
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from catalog.data_files import FileForm, partition_values

# Of a folder, and of all folders of a partition: an S3 key may have 1,024 bytes, and MinIO's files have names of 255.
LONGEST_NAME, LONGEST_PATH = 200, 600


@dataclass(frozen=True)
class Kept:
    """Of a data file that was written: where it lies, its partition (in Iceberg's JSON values), and some columns of its rows."""

    file: str
    spec_id: int
    partition: tuple[Any, ...]
    columns: pa.Table


@dataclass(frozen=True)
class Staged:
    """Files that exist in the object store and belong to no snapshot yet, as JSON. `rows` are those of the data files, `kept` some
    of their columns where the writer asked for it; `into` the data files that position deletes point into, `written` is when the
    first of them was begun."""

    files: tuple[str, ...] = ()
    rows: int = 0
    kept: tuple[Kept, ...] = dataclasses.field(default=(), compare=False, repr=False)
    deletes: tuple[str, ...] = ()
    into: frozenset[str] = frozenset()
    written: float = dataclasses.field(default_factory=time.time, compare=False)

    def with_deletes(self, deletes: "Staged") -> "Staged":
        """These data files and those deletes."""
        return dataclasses.replace(
            self, deletes=deletes.deletes, into=deletes.into, written=min(self.written, deletes.written)
        )


@dataclass(frozen=True)
class Position:
    """Where a row lies: the data file, the row's place in it, and the file's partition (in Iceberg's JSON values)."""

    file: str
    row: int
    spec_id: int
    partition: tuple[Any, ...]


class TableFiles:
    """Writes files of one table, as its schema and partitioning are when this is made. Thread-safe."""

    def __init__(self, table: Table, files: FileSystem, pool: Executor) -> None:
        self._files = files
        self._pool = pool
        self._form = FileForm(table)
        self._spec: PartitionSpec = table.spec()

    def write(self, rows: pa.Table, keep: Sequence[str] = ()) -> Staged:
        """`rows`: the table's columns by name; one that is missing is null. One data file for each partition. `keep`: columns that
        the caller wants to have at hand of each file."""
        if not len(rows):
            return Staged()
        begun, fitted = time.time(), self._fitted(rows)
        written = list(self._pool.map(lambda part: self._write(part[0], part[1], keep), self._partitions(fitted)))
        kept = tuple(of for _, of in written) if keep else ()
        return Staged(tuple(described for described, _ in written), len(rows), kept, written=begun)

    def delete(self, positions: Iterable[Position]) -> Staged:
        """One position delete file for each partition that is touched."""
        begun = time.time()
        groups: dict[tuple[int, tuple[Any, ...]], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at in positions:
            groups[(at.spec_id, at.partition)][at.file].append(at.row)
        written = [self._write_delete(spec, part, found) for (spec, part), found in groups.items()]
        into = frozenset(file for found in groups.values() for file in found)
        return Staged(deletes=tuple(written), into=into, written=begun)

    def _fitted(self, rows: pa.Table) -> pa.Table:
        columns = []
        for column in self._form.arrow:
            place = rows.schema.get_field_index(column.name)
            columns.append(pa.nulls(len(rows), column.type) if place < 0 else rows.column(place).cast(column.type))
        return pa.Table.from_arrays(columns, schema=self._form.arrow)

    def _partitions(self, rows: pa.Table) -> Iterator[tuple[pa.Table, tuple[Any, ...]]]:
        """The rows of each partition with its values."""
        if not self._spec.fields:
            yield rows, ()
            return
        keys = {}
        for field in self._spec.fields:
            source = self._form.schema.find_field(field.source_id)
            transform = field.transform.pyarrow_transform(source.field_type)
            keys[f"p{field.field_id}"] = transform(rows.column(source.name))
        table = pa.table({**keys, "row": pa.array(range(len(rows)), pa.int64())})
        groups = table.group_by(list(keys), use_threads=False).aggregate([("row", "list")])
        values = zip(*(groups.column(name).to_pylist() for name in keys), strict=True)
        for number, partition in enumerate(values):
            chosen = groups.column("row_list")[number].values
            yield (rows if len(groups) == 1 else rows.take(chosen)), partition

    def _write(self, rows: pa.Table, partition: tuple[Any, ...], keep: Sequence[str]) -> tuple[str, Kept]:
        location = f"{self._form.location}/data/{self._folder(partition)}{uuid4()}.parquet"
        with self._files.open_output_stream(location.split("://", 1)[1]) as out:
            with self._form.writer(out, rows.schema) as writer:
                writer.write_table(rows)
            size, footer = out.tell(), writer.writer.metadata
        values, spec = partition_values(self._spec, self._form.schema, partition), self._spec.spec_id
        return self._form.described(location, spec, values, size, footer), Kept(
            location, spec, values, rows.select(keep)
        )

    def _folder(self, partition: tuple[Any, ...]) -> str:
        """For people alone: readers take the partition from the manifests. So one whose name no store takes is left out."""
        if not partition:
            return ""
        path = self._spec.partition_to_path(Record(*partition), self._form.schema)
        return "" if max(map(len, path.split("/"))) > LONGEST_NAME or len(path) > LONGEST_PATH else f"{path}/"

    def _write_delete(self, spec_id: int, partition: tuple[Any, ...], found: dict[str, list[int]]) -> str:
        positions = {file: np.array(sorted(rows), dtype=np.int64) for file, rows in found.items()}
        location = f"{self._form.location}/data/{uuid4()}-deletes.parquet"
        return self._form.write_deletes(self._files, location, spec_id, partition, positions)[0]
