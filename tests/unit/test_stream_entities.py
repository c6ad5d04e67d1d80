"""Entities: the fold of a batch over what silver holds, against a plain one."""

from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.contract import Stream
from stream_jobs.duplicates import SeenIds, hashed
from stream_jobs.entities import fold, keys_of, order_columns
from stream_jobs.files import Position
from stream_jobs.held import Standing
from stream_jobs.types import UTC_TIMESTAMP
from tests.batches import NOON, column, stream

SCHEMA = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.int64()),
        ("at", UTC_TIMESTAMP),
        ("_kafka_partition", pa.int32()),
        ("_kafka_offset", pa.int64()),
    ]
)
ENTITY = stream(
    column("a", required=True), column("b", "integer", required=True), column("at", "timestamp"),
    kind="entity", key=("a", "b"), event_time="at",
)  # fmt: skip
TIMELESS = stream(*ENTITY.columns, kind="entity", key=("a", "b"))
Row = dict[str, Any]


class Silver:
    """Silver's rows in memory, one data file a commit."""

    def __init__(self, of: Stream) -> None:
        self.stream = of
        self.rows: dict[Position, Row] = {}
        self.commits = 0
        self.asked: list[set[tuple[Any, ...]]] = []

    def commit(self, rows: pa.Table, replaced: tuple[Position, ...]) -> None:
        for position in replaced:
            del self.rows[position]
        self.commits += 1
        for place, row in enumerate(rows.to_pylist()):
            self.rows[Position(f"file-{self.commits}", place, 0, ())] = row

    def rows_of(self, keys: set[tuple[Any, ...]]) -> Standing:
        self.asked.append(keys)
        found = (
            (key, tuple(row[name] for name in order_columns(self.stream)), position)
            for position, row in self.rows.items()
            if (key := tuple(row[name] for name in self.stream.key)) in keys
        )
        return Standing(tuple(found), self.commits)

    @property
    def held(self) -> Any:
        return type("Held", (), {"rows": staticmethod(self.rows_of)})


@st.composite
def batches(draw: st.DrawFn) -> list[list[Row]]:
    """Rows of a few keys in a few batches; a key's rows may have any partition and any event time, or none."""
    offsets = [0, 0]
    found = []
    times = st.none() | st.integers(0, 3).map(lambda day: NOON + timedelta(days=day))
    for _ in range(draw(st.integers(1, 4))):
        rows = []
        for _ in range(draw(st.integers(0, 6))):
            partition = draw(st.integers(0, 1))
            place = {"_kafka_partition": partition, "_kafka_offset": offsets[partition]}
            offsets[partition] += 1
            rows.append({"a": draw(st.sampled_from("xy")), "b": draw(st.integers(0, 1)), "at": draw(times), **place})
        found.append(rows)
    return found


def latest(rows: list[Row], of: Stream) -> dict[tuple[Any, ...], Row]:
    """The fold, read plainly: by event time (none is before all), then offset, then partition."""

    def rank(row: Row) -> tuple[Any, ...]:
        at: datetime | None = row["at"] if of.event_time else None
        return at is not None, at or NOON, row["_kafka_offset"], row["_kafka_partition"]

    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row["a"], row["b"])
        if key not in found or rank(row) > rank(found[key]):
            found[key] = row
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches(), st.sampled_from([ENTITY, TIMELESS]))
def test_silver_holds_the_latest_row_of_each_key(given_batches: list[list[Row]], of: Stream) -> None:
    silver, known = Silver(of), SeenIds(7)
    for rows in given_batches:
        folded = fold(pa.Table.from_pylist(rows, schema=SCHEMA), of, known, silver.held)
        # At most one row a key, and what is replaced was read in the snapshot that is named.
        assert len(set(keys_of(folded.rows, of))) == len(folded.rows)
        assert folded.read_at == (silver.commits if silver.asked else None) or not folded.replaced
        silver.commit(folded.rows, folded.replaced)
        known.add(folded.keys, date.max)
        silver.asked.clear()
    expected = latest([row for rows in given_batches for row in rows], of)
    assert {(row["a"], row["b"]): row for row in silver.rows.values()} == expected
    assert len(silver.rows) == len(expected)


def test_silver_is_asked_only_for_keys_that_it_may_have() -> None:
    silver, known = Silver(ENTITY), SeenIds(7)
    known.add(hashed([("x", 0)]), date.max)
    rows = [{"a": a, "b": 0, "at": None, "_kafka_partition": 0, "_kafka_offset": n} for n, a in enumerate("xy")]
    fold(pa.Table.from_pylist(rows[1:], schema=SCHEMA), ENTITY, known, silver.held)
    assert silver.asked == []
    fold(pa.Table.from_pylist(rows, schema=SCHEMA), ENTITY, known, silver.held)
    assert silver.asked == [{("x", 0)}]


def test_a_batch_that_is_done_again_leaves_one_row_a_key() -> None:
    silver, known = Silver(ENTITY), SeenIds(7)
    rows = pa.Table.from_pylist(
        [{"a": "x", "b": 0, "at": NOON, "_kafka_partition": 0, "_kafka_offset": 3}], schema=SCHEMA
    )
    for _ in range(2):
        folded = fold(rows, ENTITY, known, silver.held)
        silver.commit(folded.rows, folded.replaced)
        known.add(folded.keys, date.max)
    assert list(silver.rows.values()) == rows.to_pylist()
