"""A stream's three Iceberg tables: schemas, partitioning and properties, from the contract alone."""

import re
from collections.abc import Iterator
from itertools import count

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import Transform, parse_transform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
)

from catalog.contract import Column, Partition, Stream
from catalog.errors import SluiceError
from catalog.names import BRONZE, SILVER

# How every table is kept. Old metadata files go with each commit, else a commit a second fills the bucket with them.
PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.compression-codec": "gzip",  # each commit writes the list of all snapshots anew
    "write.distribution-mode": "none",
    "write.delete.mode": "merge-on-read",
    "write.update.mode": "merge-on-read",
    "write.merge.mode": "merge-on-read",
    # A snapshot carries the stream's offsets; engines that expire on their own must leave some of them.
    "history.expire.min-snapshots-to-keep": "10",
    "commit.manifest.min-count-to-merge": "25",
    "commit.retry.num-retries": "10",
}


def schema(layer: str, stream: Stream) -> Schema:
    """The Iceberg schema of `bronze`, `silver` or `quarantine`, with the contract's descriptions as comments."""
    ids = count(1)
    if layer == BRONZE:
        return Schema(*_bronze(ids))
    columns = [_field(ids, column) for column in stream.columns]
    if layer == SILVER:
        return Schema(*columns, *_provenance(ids))
    return Schema(*columns, *_provenance(ids), *_reasons(ids))


def partition_spec(layer: str, stream: Stream, of: Schema) -> PartitionSpec:
    """Bronze by day of receipt; silver as the contract says (else by day of receipt); quarantine by day of receipt."""
    if layer == SILVER:
        chosen = stream.partitions or _default_partitions(stream)
    else:
        chosen = (Partition("received_at" if layer == BRONZE else "_received_at", "day"),)
    return PartitionSpec(*(_partition_field(part, 1000 + n, of) for n, part in enumerate(chosen)))


def properties(layer: str, stream: Stream) -> dict[str, str]:
    """Table properties; those named `sluice.*` are facts of the contract that may not change under live data."""
    comment = f"{layer} of {stream.title}" + (f": {stream.description}" if stream.description else "")
    return {
        **PROPERTIES,
        "comment": comment,
        "sluice.kind": stream.kind,
        "sluice.key": ",".join(stream.key),
        "sluice.contract-version": stream.version,
    }


def iceberg_type(column: Column, ids: Iterator[int]) -> IcebergType:
    """The Iceberg type of a contract's column. Raises SluiceError where the two types of the contract disagree."""
    match column.logical_type:
        case "string" | "time":
            return StringType()
        case "boolean":
            return BooleanType()
        case "date":
            return DateType()
        case "timestamp":
            return TimestamptzType()
        case "integer":
            return IntegerType() if column.narrow else LongType()
        case "number":
            return _number(column)
        case "array" if column.items is not None:
            element = next(ids)
            return ListType(element, iceberg_type(column.items, ids), element_required=False)
        case "object" if column.fields:
            return StructType(*(_field(ids, child) for child in column.fields))
        case _:
            return StringType()  # an object or array without declared members is kept as its JSON text


def _number(column: Column) -> IcebergType:
    if column.decimal:
        precision, scale = column.decimal
        if not 0 < precision <= 38 or scale > precision:
            raise SluiceError(f"property {column.name}: {column.physical_type} is out of decimal's bounds (38 digits)")
        return DecimalType(precision, scale)
    single = (column.physical_type or "").lower() in ("float", "real") or column.format == "f32"
    return FloatType() if single else DoubleType()


def _field(ids: Iterator[int], column: Column) -> NestedField:
    field_id = next(ids)
    return _optional(field_id, column.name, iceberg_type(column, ids), column.description)


def _optional(field_id: int, name: str, kind: IcebergType, doc: str) -> NestedField:
    # Optional in the table even where the contract requires it: a contract may relax, a table's column may not be
    # made required later, and the stream job is what refuses a missing value.
    return NestedField(field_id, name, kind, required=False, doc=doc or None)


def _bronze(ids: Iterator[int]) -> list[NestedField]:
    facts: list[tuple[str, IcebergType, str]] = [
        ("payload", BinaryType(), "The event's bytes exactly as received."),
        ("event_id", StringType(), "CloudEvents id, Idempotency-Key or UUIDv7: the identity for de-duplication."),
        ("contract_version", StringType(), "Version of the contract that the gateway checked against."),
        ("content_type", StringType(), "Media type of the payload."),
        ("producer", StringType(), "Id of the key that submitted the event."),
        ("received_at", TimestamptzType(), "When the gateway received the event, UTC."),
        ("topic", StringType(), "Kafka topic."),
        ("partition", IntegerType(), "Kafka partition."),
        ("offset", LongType(), "Kafka offset."),
        ("broker_time", TimestamptzType(), "Kafka's record timestamp, UTC."),
    ]
    fields = [_optional(next(ids), name, kind, doc) for name, kind, doc in facts]
    headers = MapType(next(ids), StringType(), next(ids), StringType(), value_required=False)
    return [*fields, _optional(next(ids), "headers", headers, "Other Kafka headers of the record.")]


def _provenance(ids: Iterator[int]) -> list[NestedField]:
    facts: list[tuple[str, IcebergType, str]] = [
        ("_event_id", StringType(), "Identity of the event: bronze.event_id."),
        ("_received_at", TimestamptzType(), "When the gateway received the event, UTC."),
        ("_kafka_partition", IntegerType(), "Kafka partition of the event: bronze.partition."),
        ("_kafka_offset", LongType(), "Kafka offset of the event: bronze.offset."),
        ("_contract_version", StringType(), "Version of the contract that the row was typed by."),
    ]
    return [_optional(next(ids), name, kind, doc) for name, kind, doc in facts]


def _reasons(ids: Iterator[int]) -> list[NestedField]:
    payload = _optional(next(ids), "payload", BinaryType(), "The event's bytes exactly as received.")
    list_id, element_id = next(ids), next(ids)
    members = (("rule", "The rule that was broken."), ("column", "The column that broke it, if one did."),
               ("severity", "error or warning."), ("message", "What is wrong, for a person."))  # fmt: skip
    reason = StructType(*(_optional(next(ids), name, StringType(), doc) for name, doc in members))
    reasons = ListType(element_id, reason, element_required=False)
    return [payload, _optional(list_id, "_violations", reasons, "Why the row is not in silver.")]


def _default_partitions(stream: Stream) -> tuple[Partition, ...]:
    return () if stream.kind == "entity" else (Partition("_received_at", "day"),)


def _partition_field(part: Partition, field_id: int, of: Schema) -> PartitionField:
    transform: Transform[object, object] = parse_transform(part.transform)
    source = of.find_field(part.column)
    suffix = "" if part.transform == "identity" else "_" + re.sub(r"\W.*", "", part.transform)
    return PartitionField(source.field_id, field_id, transform, f"{part.column}{suffix}")
