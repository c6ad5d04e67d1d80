"""Arrow tables → data files and position delete files in the object store, which belong to no snapshot yet.

A file is described in Iceberg's own JSON for content files (`ContentFileParser`), which is how it travels to the commit.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem
from pyiceberg.conversions import to_json
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record

# Of a folder, and of all folders of a partition: an S3 key may have 1,024 bytes, and MinIO's files have names of 255.
LONGEST_NAME, LONGEST_PATH = 200, 600
# Column ids that Iceberg's specification reserves for position delete files.
DELETE_SCHEMA = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"}),
    ]
)


@dataclass(frozen=True)
class Staged:
    """Files that exist in the object store and belong to no snapshot yet, as JSON. `rows` are those of the data files; `into`
    the data files that position deletes point into."""

    files: tuple[str, ...] = ()
    rows: int = 0
    deletes: tuple[str, ...] = ()
    into: frozenset[str] = frozenset()

    def with_deletes(self, deletes: "Staged") -> "Staged":
        """These data files and those deletes."""
        return Staged(self.files, self.rows, deletes.deletes, deletes.into)


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
        self._location = table.location()
        self._schema: Schema = table.schema()
        self._spec: PartitionSpec = table.spec()
        self._arrow: pa.Schema = schema_to_pyarrow(self._schema)
        self._statistics = compute_statistics_plan(self._schema, table.properties)
        self._paths = parquet_path_to_id_mapping(self._schema)
        self._codec = table.properties.get("write.parquet.compression-codec", "zstd")
        self._partition_types = [field.field_type for field in self._spec.partition_type(self._schema).fields]

    def write(self, rows: pa.Table) -> Staged:
        """`rows`: the table's columns by name; one that is missing is null. One data file for each partition."""
        if not len(rows):
            return Staged()
        fitted = self._fitted(rows)
        written = self._pool.map(lambda part: self._write(*part), self._partitions(fitted))
        return Staged(tuple(written), len(rows))

    def delete(self, positions: Iterable[Position]) -> Staged:
        """One position delete file for each partition that is touched."""
        groups: dict[tuple[int, tuple[Any, ...]], list[tuple[str, int]]] = defaultdict(list)
        for at in positions:
            groups[(at.spec_id, at.partition)].append((at.file, at.row))
        written = [self._write_delete(spec, part, sorted(found)) for (spec, part), found in groups.items()]
        return Staged(deletes=tuple(written), into=frozenset(at[0] for found in groups.values() for at in found))

    def _fitted(self, rows: pa.Table) -> pa.Table:
        columns = []
        for field in self._arrow:
            place = rows.schema.get_field_index(field.name)
            columns.append(pa.nulls(len(rows), field.type) if place < 0 else rows.column(place).cast(field.type))
        return pa.Table.from_arrays(columns, schema=self._arrow)

    def _partitions(self, rows: pa.Table) -> Iterator[tuple[pa.Table, tuple[Any, ...]]]:
        """The rows of each partition with its values."""
        if not self._spec.fields:
            yield rows, ()
            return
        keys = {}
        for field in self._spec.fields:
            source = self._schema.find_field(field.source_id)
            transform = field.transform.pyarrow_transform(source.field_type)
            keys[f"p{field.field_id}"] = transform(rows.column(source.name))
        table = pa.table({**keys, "row": pa.array(range(len(rows)), pa.int64())})
        groups = table.group_by(list(keys), use_threads=False).aggregate([("row", "list")])
        values = zip(*(groups.column(name).to_pylist() for name in keys), strict=True)
        for number, partition in enumerate(values):
            chosen = groups.column("row_list")[number].values
            yield (rows if len(groups) == 1 else rows.take(chosen)), partition

    def _write(self, rows: pa.Table, partition: tuple[Any, ...]) -> str:
        location = f"{self._location}/data/{self._folder(partition)}{uuid4()}.parquet"
        size, metadata = self._put(location, rows)
        facts = data_file_statistics_from_parquet_metadata(metadata, self._statistics, self._paths).to_serialized_dict()
        described = {
            **_described("data", location, self._spec.spec_id, size, len(rows)),
            "partition": [_json(kind, value) for kind, value in zip(self._partition_types, partition, strict=True)],
            "column-sizes": _map(facts["column_sizes"]), "value-counts": _map(facts["value_counts"]),
            "null-value-counts": _map(facts["null_value_counts"]), "nan-value-counts": _map(facts["nan_value_counts"]),
            "lower-bounds": _map(facts["lower_bounds"]), "upper-bounds": _map(facts["upper_bounds"]),
            "split-offsets": facts["split_offsets"],
        }  # fmt: skip
        return orjson.dumps(described).decode()

    def _folder(self, partition: tuple[Any, ...]) -> str:
        """For people alone: readers take the partition from the manifests. So one whose name no store takes is left out."""
        if not partition:
            return ""
        path = self._spec.partition_to_path(Record(*partition), self._schema)
        return "" if max(map(len, path.split("/"))) > LONGEST_NAME or len(path) > LONGEST_PATH else f"{path}/"

    def _write_delete(self, spec_id: int, partition: tuple[Any, ...], positions: list[tuple[str, int]]) -> str:
        rows = pa.table([pa.array(list(column)) for column in zip(*positions, strict=True)], schema=DELETE_SCHEMA)
        location = f"{self._location}/data/{uuid4()}-deletes.parquet"
        size, _ = self._put(location, rows)
        described = _described("position-deletes", location, spec_id, size, len(rows))
        return orjson.dumps({**described, "partition": list(partition)}).decode()

    def _put(self, location: str, rows: pa.Table) -> tuple[int, pq.FileMetaData]:
        """Write one Parquet file; its size in bytes and its footer."""
        with self._files.open_output_stream(location.split("://", 1)[1]) as out:
            # Decimals of up to 18 digits are integers in Iceberg's Parquet files.
            with pq.ParquetWriter(out, rows.schema, compression=self._codec, store_decimal_as_integer=True) as writer:
                writer.write_table(rows)
            return out.tell(), writer.writer.metadata


def partition_values(spec: PartitionSpec, schema: Schema, values: Iterable[Any]) -> tuple[Any, ...]:
    """A data file's partition tuple in Iceberg's JSON values."""
    types = (field.field_type for field in spec.partition_type(schema).fields)
    return tuple(_json(kind, value) for kind, value in zip(types, values, strict=True))


def _described(content: str, location: str, spec_id: int, size: int, rows: int) -> dict[str, Any]:
    return {
        "spec-id": spec_id, "content": content, "file-path": location, "file-format": "parquet",
        "file-size-in-bytes": size, "record-count": rows,
    }  # fmt: skip


def _json(kind: Any, value: Any) -> Any:
    return None if value is None else to_json(kind, value)


def _map(values: dict[int, Any]) -> dict[str, list[Any]]:
    shown = [value.hex().upper() if isinstance(value, bytes) else value for value in values.values()]
    return {"keys": list(values), "values": shown}
