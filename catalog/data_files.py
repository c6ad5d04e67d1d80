"""How a file of one table is written and described, before any snapshot knows it.

A file is described in Iceberg's own JSON for content files (`ContentFileParser`), which is how it travels to the commit.
"""

from collections.abc import Iterable, Mapping
from typing import Any

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

from catalog import position_deletes
from catalog.position_deletes import Positions

# A partition's values in Iceberg's JSON form.
PartitionValues = tuple[Any, ...]


class FileForm:
    """The form of a table's files, as its schema and properties are when this is made. Thread-safe."""

    def __init__(self, table: Table) -> None:
        self.location = table.location()
        self.schema: Schema = table.schema()
        self.arrow: pa.Schema = schema_to_pyarrow(self.schema)
        self.codec: str = table.properties.get("write.parquet.compression-codec", "zstd")
        self._statistics = compute_statistics_plan(self.schema, table.properties)
        self._paths = parquet_path_to_id_mapping(self.schema)

    def writer(self, out: Any, schema: pa.Schema) -> pq.ParquetWriter:
        """A Parquet writer; decimals of up to 18 digits are integers in Iceberg's Parquet files."""
        return pq.ParquetWriter(out, schema, compression=self.codec, store_decimal_as_integer=True)

    def described(
        self, location: str, spec_id: int, partition: PartitionValues, size: int, footer: pq.FileMetaData
    ) -> str:
        """A data file with its statistics."""
        facts = data_file_statistics_from_parquet_metadata(footer, self._statistics, self._paths).to_serialized_dict()
        described = {
            **content_file("data", location, spec_id, partition, size, footer.num_rows),
            "column-sizes": _map(facts["column_sizes"]), "value-counts": _map(facts["value_counts"]),
            "null-value-counts": _map(facts["null_value_counts"]), "nan-value-counts": _map(facts["nan_value_counts"]),
            "lower-bounds": _map(facts["lower_bounds"]), "upper-bounds": _map(facts["upper_bounds"]),
            "split-offsets": facts["split_offsets"],
        }  # fmt: skip
        return orjson.dumps(described).decode()

    def write_deletes(
        self,
        files: FileSystem,
        location: str,
        spec_id: int,
        partition: PartitionValues,
        positions: Mapping[str, Positions],
    ) -> tuple[str, int]:
        """Write a position delete file; what describes it, and its bytes. The bounds of its paths tell readers whose it is not."""
        rows = position_deletes.rows_of(positions)
        with files.open_output_stream(location.split("://", 1)[1]) as out:
            with self.writer(out, rows.schema) as writer:
                writer.write_table(rows)
            size = out.tell()
        described = content_file("position-deletes", location, spec_id, partition, size, len(rows))
        for name, path in (("lower-bounds", min(positions)), ("upper-bounds", max(positions))):
            described[name] = _map({position_deletes.PATH_ID: path.encode()})
        return orjson.dumps(described).decode(), size


def content_file(
    content: str, location: str, spec_id: int, partition: PartitionValues, size: int, rows: int
) -> dict[str, Any]:
    """What names a file: enough to take it out of a table."""
    return {
        "spec-id": spec_id, "content": content, "file-path": location, "file-format": "parquet",
        "partition": list(partition), "file-size-in-bytes": size, "record-count": rows,
    }  # fmt: skip


def partition_values(spec: PartitionSpec, schema: Schema, values: Iterable[Any]) -> PartitionValues:
    """A data file's partition tuple in Iceberg's JSON values."""
    types = (field.field_type for field in spec.partition_type(schema).fields)
    return tuple(None if value is None else to_json(kind, value) for kind, value in zip(types, values, strict=True))


def _map(values: dict[int, Any]) -> dict[str, list[Any]]:
    shown = [value.hex().upper() if isinstance(value, bytes) else value for value in values.values()]
    return {"keys": list(values), "values": shown}
