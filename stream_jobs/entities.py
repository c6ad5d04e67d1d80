"""Entity streams: silver holds one row a key, the latest by event time, then offset.

New rows are folded within the batch, compared with the rows that silver has for their keys, and the losers among those
are deleted by position (merge-on-read), so that a commit writes only what changed.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from py4j.java_gateway import JavaObject
from pyarrow.fs import FileSystem
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from catalog.contract import Stream
from stream_jobs.commit import LakeTable
from stream_jobs.duplicates import Hashes, SeenIds

# Column ids that Iceberg's specification reserves for position delete files.
DELETE_SCHEMA = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"}),
    ]
)
# Up to this many keys are given to Iceberg by value, so that it can skip files and partitions.
LOOK_UP_BY_VALUE = 1000


@dataclass(frozen=True)
class Position:
    """Where a row lies: the data file, the row's place in it, and the file's partition."""

    file: str
    row: int
    spec_id: int
    partition: tuple[Any, ...]


@dataclass(frozen=True)
class Folded:
    """What a batch changes: the rows to add, the rows that they replace (found in silver's snapshot `read_at`), how many good
    rows were folded, and the hashes of their keys."""

    rows: DataFrame
    replaced: tuple[Position, ...]
    read_at: int | None
    accepted: int
    keys: Hashes
    cached: DataFrame

    def release(self) -> None:
        """Free what was kept in memory to read it more than once."""
        self.cached.unpersist()


def key_hash(stream: Stream) -> Column:
    """64 bits of the key's values."""
    return F.xxhash64(*stream.key)


def fold(good: DataFrame, stream: Stream, silver: LakeTable, known: SeenIds) -> Folded:
    """`good`: silver rows of the batch; `known`: hashes of the keys that silver has.

    The result's rows are at most one a key, and newer than what silver holds. Silver is read only for keys that it may have.
    """
    columns = good.columns
    order = _order(stream)
    newest = good.groupBy(*stream.key).agg(
        F.max_by(F.struct(*columns), order).alias("_row"), F.count(F.lit(1)).alias("_n")
    )
    winners = newest.select("_row.*", "_n").persist()
    found = winners.select(key_hash(stream).alias("hash"), "_n").toArrow()
    hashes: Hashes = found.column("hash").to_numpy()
    accepted = sum(found.column("_n").to_pylist())
    rows = winners.select(*columns)
    silver.java.refresh()
    read_at = silver.current_snapshot_id()
    suspects = hashes[known.suspects(hashes)]
    if read_at is None or not len(suspects):
        return Folded(rows, (), read_at, accepted, hashes, winners)
    asked = rows.where(key_hash(stream).isin([int(h) for h in suspects])) if len(suspects) <= LOOK_UP_BY_VALUE else rows
    held = _held(asked, stream, silver, read_at)
    standing = held.select(*stream.key, order.alias("_held"), "_file", "_pos", "_spec_id", "_partition")
    coming = asked.select(*stream.key, order.alias("_new"))
    pairs = standing.join(F.broadcast(coming), list(stream.key)).withColumn("_wins", F.col("_new") >= F.col("_held"))
    judged = pairs.drop("_held", "_new").collect()
    replaced = tuple(
        Position(row["_file"], row["_pos"], row["_spec_id"], tuple(row["_partition"] or ()))
        for row in judged
        if row["_wins"]
    )
    late = [tuple(row[key] for key in stream.key) for row in judged if not row["_wins"]]
    return Folded(_without(rows, stream, late), replaced, read_at, accepted, hashes, winners)


def write_deletes(table: LakeTable, files: FileSystem, positions: tuple[Position, ...]) -> list[JavaObject]:
    """One position delete file for each partition that is touched; not committed yet."""
    by_partition: dict[tuple[int, tuple[Any, ...]], list[Position]] = defaultdict(list)
    for position in positions:
        by_partition[(position.spec_id, position.partition)].append(position)
    return [_write_delete(table, files, spec, part, found) for (spec, part), found in by_partition.items()]


def _order(stream: Stream) -> Column:
    # One key has one partition (it is the message key), so offsets order its events; the partition settles the rest.
    ranks = [stream.event_time] if stream.event_time else []
    return F.struct(*ranks, "_kafka_offset", "_kafka_partition")


def _held(winners: DataFrame, stream: Stream, silver: LakeTable, snapshot: int) -> DataFrame:
    """Silver's rows that may have the keys of `winners`."""
    table = winners.sparkSession.read.option("versionAsOf", snapshot).table(silver.path)
    if len(stream.key) == 1:
        keys = [row[0] for row in winners.select(stream.key[0]).limit(LOOK_UP_BY_VALUE + 1).collect()]
        if len(keys) <= LOOK_UP_BY_VALUE:
            return table.where(F.col(stream.key[0]).isin(keys))
    return table


def _without(winners: DataFrame, stream: Stream, late: list[tuple[Any, ...]]) -> DataFrame:
    if not late:
        return winners
    types = winners.select(*stream.key).schema
    gone = winners.sparkSession.createDataFrame(late, types)
    return winners.join(F.broadcast(gone), list(stream.key), "left_anti").select(*winners.columns)


def _write_delete(
    table: LakeTable, files: FileSystem, spec_id: int, partition: tuple[Any, ...], positions: list[Position]
) -> JavaObject:
    ordered = sorted((p.file, p.row) for p in positions)
    rows = pa.table([pa.array(list(column)) for column in zip(*ordered, strict=True)], schema=DELETE_SCHEMA)
    location = f"{table.java.location()}/data/{uuid4()}-deletes.parquet"
    key = location.split("://", 1)[1]
    pq.write_table(rows, key, filesystem=files, compression="zstd")
    size = files.get_file_info(key).size
    jvm: Any = table._jvm
    spec = table.java.specs()[spec_id]
    builder = jvm.org.apache.iceberg.FileMetadata.deleteFileBuilder(spec).ofPositionDeletes()
    builder = builder.withPath(location).withFormat("parquet").withFileSizeInBytes(size).withRecordCount(len(ordered))
    if spec.isPartitioned():
        builder = builder.withPartition(_partition_data(jvm, spec, partition))
    return builder.build()


def _partition_data(jvm: Any, spec: Any, values: tuple[Any, ...]) -> JavaObject:
    """The partition tuple as Iceberg's Java keeps it: dates as days, times as microseconds, whole numbers by width."""
    data = jvm.org.apache.iceberg.PartitionData(spec.partitionType())
    for index, value in enumerate(values):
        kind = str(spec.partitionType().fields()[index].type().typeId().name())
        data.set(index, _java_value(jvm, kind, value))
    return data


def _java_value(jvm: Any, kind: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return jvm.java.lang.Long(int(value.timestamp() * 1_000_000))
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days
    if kind == "LONG" and value is not None:
        return jvm.java.lang.Long(value)
    return value
