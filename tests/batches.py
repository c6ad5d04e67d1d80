"""Streams and batches for tests of the stream job that need no server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from catalog.contract import Column, Rule, Stream
from stream_jobs.records import BRONZE
from stream_jobs.refine import Refined, Refiner

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def column(name: str, kind: str = "string", **facts: Any) -> Column:
    """A column that stands under its own name in the payload, unless `pointer` says otherwise."""
    return Column(name, kind, pointer=facts.pop("pointer", (name,)), **facts)


def stream(*columns: Column, rules: Sequence[Rule] = (), **facts: Any) -> Stream:
    return Stream("s", "1.0.0", "S", "", facts.pop("kind", "event"), columns, rules=tuple(rules), **facts)


def bronze(*payloads: bytes, version: str | None = "1.0.0") -> pa.Table:
    """Rows in bronze's shape, at the offsets 0, 1, … of partition 0."""
    rows = [
        {"payload": payload, "event_id": f"id-{n}", "contract_version": version, "received_at": NOON, "topic": "s",
         "partition": 0, "offset": n, "broker_time": NOON}
        for n, payload in enumerate(payloads)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=BRONZE)


def refined(of: Stream, *payloads: bytes) -> Refined:
    return Refiner(of)(bronze(*payloads))


def verdicts(found: Refined) -> dict[int, tuple[str, ...]]:
    """For each offset the rules that it broke; silver's rows broke none."""
    good = {row["_kafka_offset"]: () for row in found.silver.to_pylist()}
    bad = {
        row["_kafka_offset"]: tuple(sorted(reason["rule"] for reason in row["_violations"]))
        for row in found.quarantine.to_pylist()
    }
    assert not good.keys() & bad.keys()
    return good | bad
