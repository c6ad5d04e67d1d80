"""Kafka records as bronze rows: the one shape in which events travel through the stream job."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog import names
from stream_jobs.columns import timestamps
from stream_jobs.types import UTC_TIMESTAMP

# What is taken of Spark's Kafka source (with `includeHeaders`).
KAFKA_COLUMNS = ("topic", "partition", "offset", "timestamp", "value", "headers")
BRONZE = pa.schema(
    [
        ("payload", pa.binary()),
        ("event_id", pa.string()),
        ("contract_version", pa.string()),
        ("content_type", pa.string()),
        ("producer", pa.string()),
        ("received_at", UTC_TIMESTAMP),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("broker_time", UTC_TIMESTAMP),
        ("headers", pa.map_(pa.string(), pa.string())),
    ]
)


def bronze_rows(records: pa.Table) -> pa.Table:
    """`records`: KAFKA_COLUMNS. The result is in bronze's columns.

    A record without an id (written past the gateway) is known by its place: `topic/partition/offset` never changes.
    """
    records = records.combine_chunks()
    if not len(records):
        return BRONZE.empty_table()
    topic, partition, offset, broker_time, value = (_flat(records, name) for name in KAFKA_COLUMNS[:5])
    headers = _Headers(_flat(records, "headers"))
    received = timestamps(headers.text(names.H_TIME))
    columns = {
        "payload": pc.fill_null(value.cast(pa.binary()), b""),
        "event_id": _identified(headers.text(names.H_ID), topic, partition, offset),
        "contract_version": headers.text(names.H_CONTRACT_VERSION),
        "content_type": headers.text(names.H_CONTENT_TYPE),
        "producer": headers.text(names.H_PRODUCER),
        "received_at": pc.coalesce(received, broker_time.cast(UTC_TIMESTAMP)),
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "broker_time": broker_time.cast(UTC_TIMESTAMP),
        "headers": headers.others(names.COLUMN_HEADERS),
    }
    return pa.table([columns[field.name].cast(field.type) for field in BRONZE], schema=BRONZE)


class _Headers:
    """The headers of all records, flat: Kafka allows a key twice in a record, and the last one counts."""

    def __init__(self, headers: pa.Array) -> None:
        self._rows = len(headers)
        self._of = np.asarray(pc.list_parent_indices(headers))
        flat = pc.list_flatten(headers)
        self._keys, self._values = pc.struct_field(flat, "key"), pc.struct_field(flat, "value")

    def text(self, name: str) -> pa.Array:
        """The header's text in each record, null where there is none."""
        found = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(self._keys, name), False)))
        place: NDArray[np.int64] = np.full(self._rows, -1, dtype=np.int64)
        place[self._of[found]] = found
        return _text(self._values.take(pa.array(place, mask=place < 0)))

    def others(self, own: tuple[str, ...]) -> pa.Array:
        """Those that have no column of their own, as a map; null where there are none."""
        kind = BRONZE.field("headers").type
        strange = np.flatnonzero(~np.asarray(pc.is_in(self._keys, pa.array(own))))
        if not len(strange):
            return pa.nulls(self._rows, kind)
        strange = self._last_of_each(strange)
        counts = np.bincount(self._of[strange], minlength=self._rows)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32(), mask=np.append(counts == 0, False))
        chosen = pa.array(strange)
        return pa.MapArray.from_arrays(offsets, self._keys.take(chosen), _text(self._values.take(chosen)))

    def _last_of_each(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """Without those whose key comes again in the same record."""
        codes = np.asarray(self._keys.take(pa.array(places)).dictionary_encode().indices).astype(np.int64)
        pairs = self._of[places].astype(np.int64) * (int(codes.max()) + 1) + codes
        _, last = np.unique(pairs[::-1], return_index=True)
        return np.sort(places[::-1][last]) if len(last) < len(places) else places


def _identified(ids: pa.Array, topic: pa.Array, partition: pa.Array, offset: pa.Array) -> pa.Array:
    ids = pc.if_else(pc.equal(ids, ""), None, ids)  # CloudEvents knows no empty id, and it would be everybody's
    if not ids.null_count:
        return ids
    place = pc.binary_join_element_wise(topic, partition.cast(pa.string()), offset.cast(pa.string()), "/")
    return pc.coalesce(ids, place.cast(pa.string()))


def _text(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:  # no UTF-8: kept as far as it can be read
        return pa.array([None if v is None else v.decode(errors="replace") for v in values.to_pylist()], pa.string())


def _flat(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
