"""Kafka's records → bronze's rows."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from catalog import names
from stream_jobs.records import BRONZE, KAFKA_COLUMNS, bronze_rows
from tests.batches import NOON

HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
RECORDS = pa.schema(
    [("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("timestamp", pa.timestamp("us", "UTC")),
     ("value", pa.binary()), ("headers", HEADERS)]
)  # fmt: skip


def records(*of: dict[str, Any]) -> pa.Table:
    """Records at the offsets 0, 1, …; `headers` as pairs."""
    rows = [
        {"topic": "orders", "partition": 3, "offset": n, "timestamp": NOON, "value": b"{}", **record,
        "headers": _listed(record.get("headers"))}
        for n, record in enumerate(of)
    ]  # fmt: skip
    assert tuple(RECORDS.names) == KAFKA_COLUMNS
    return pa.Table.from_pylist(rows, schema=RECORDS)


def _listed(headers: list[tuple[str, bytes | None]] | None) -> list[dict[str, Any]] | None:
    return None if headers is None else [{"key": key, "value": value} for key, value in headers]


def rows(*of: dict[str, Any]) -> list[dict[str, Any]]:
    found = bronze_rows(records(*of))
    assert found.schema == BRONZE
    return list(found.to_pylist())


FULL = [
    (names.H_ID, b"e-1"), (names.H_TIME, b"2026-01-02T03:04:05.5+01:00"), (names.H_CONTRACT_VERSION, b"2.0.0"),
    (names.H_PRODUCER, b"shop"),
    (names.H_CONTENT_TYPE, b"application/json"), (names.H_SPEC_VERSION, b"1.0"), (names.H_TYPE, b"orders"), ("traceparent",
    b"00-1"),
    (names.H_SOURCE, b"/shop"),
]  # fmt: skip


def test_a_record_of_the_gateway() -> None:
    (row,) = rows({"value": b'{"a": 1}', "headers": FULL})
    assert row == {
        "payload": b'{"a": 1}', "event_id": "e-1", "contract_version": "2.0.0", "content_type": "application/json",
        "producer": "shop",
        "received_at": datetime(2026, 1, 2, 2, 4, 5, 500000, tzinfo=UTC), "topic": "orders", "partition": 3, "offset": 0,
        "broker_time": NOON,
        "headers": [("traceparent", "00-1"), (names.H_SOURCE, "/shop")],
    }  # fmt: skip


@pytest.mark.parametrize("headers", [None, []])
def test_a_record_that_was_written_past_the_gateway_is_known_by_its_place(headers: Any) -> None:
    alone, beside = rows({"headers": headers})[0], rows({"headers": FULL}, {"headers": headers})[1]
    assert (alone["event_id"], beside["event_id"]) == ("orders/3/0", "orders/3/1")
    for row in (alone, beside):
        assert [row[name] for name in ("contract_version", "content_type", "producer", "headers")] == [None] * 4
        assert row["received_at"] == NOON


def test_odd_headers() -> None:
    found = rows(
        {"headers": [(names.H_ID, b"first"), ("x", b"1"), (names.H_ID, b"last"), ("x", b"2")]},
        {"headers": [(names.H_ID, None), ("y", None)]},
        {"headers": [(names.H_ID, b""), (names.H_TIME, b"")]},
        {"headers": [(names.H_ID, b"a\xff"), (names.H_TIME, b"yesterday"), ("z", b"\xff")]},
        {"headers": [(names.H_ID, b"\0"), (names.H_TIME, b"9999-12-31T23:59:59-10:00")]},
        {"headers": [("", b"nameless")]},
    )
    assert [row["event_id"] for row in found] == ["last", "orders/3/1", "orders/3/2", "a�", "\0", "orders/3/5"]
    assert [row["headers"] for row in found] == [
        [("x", "2")],
        [("y", None)],
        None,
        [("z", "�")],
        None,
        [("", "nameless")],
    ]
    assert {row["received_at"] for row in found} == {NOON}


def test_a_record_without_a_value_has_an_empty_payload() -> None:
    assert [row["payload"] for row in rows({"value": None}, {"value": b""})] == [b"", b""]


def test_parts_of_tables_and_tables_in_parts() -> None:
    many = records(
        *(
            {"headers": [(names.H_ID, b"%d" % n), ("n", b"%d" % n)] if n % 3 else None, "value": b"%d" % n}
            for n in range(30)
        )
    )
    whole = bronze_rows(many)
    assert bronze_rows(many[7:19]).equals(whole[7:19])
    assert bronze_rows(pa.concat_tables([many[:4], many[4:21], many[21:]])).equals(whole)
    assert bronze_rows(many[:0]).equals(BRONZE.empty_table())


def test_kafkas_times_in_any_zone_are_utc() -> None:
    zoned = records({}).cast(RECORDS.set(3, pa.field("timestamp", pa.timestamp("us", "Europe/Berlin"))))
    assert bronze_rows(zoned).to_pylist() == rows({})
