"""Repeats among the rows of a batch, against a plain reading of what a repeat is."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream_jobs.duplicates import SeenIds, hashed, repeats
from stream_jobs.records import BRONZE
from tests.batches import NOON

HORIZON = 7


class Row(NamedTuple):
    partition: int
    offset: int
    event_id: str
    day: int

    @property
    def received(self) -> datetime:
        return NOON + timedelta(days=self.day)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], dict[int, int], dict[int, int]]:
    """Rows of three partitions at growing offsets, what was handled before, and where the batch ends."""
    rows, handled, ends = [], {}, {}
    for partition in range(3):
        length = draw(st.integers(0, 8))
        ids, days = st.sampled_from("abcd"), st.integers(0, 20)
        rows += [Row(partition, offset, draw(ids), draw(days)) for offset in range(length)]
        ends[partition] = draw(st.integers(0, length))
        if draw(st.booleans()):
            handled[partition] = draw(st.integers(0, ends[partition]))
    return rows, handled, ends


def table(rows: list[Row]) -> pa.Table:
    facts = [
        {"event_id": r.event_id, "received_at": r.received, "partition": r.partition, "offset": r.offset} for r in rows
    ]
    return pa.Table.from_pylist(facts, schema=BRONZE)


class Bronze:
    """Bronze's rows in memory; keeps what it was asked for."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows
        self.since: datetime | None = None

    def look_up(self, ids: list[str], since: datetime) -> Iterator[pa.RecordBatch]:
        self.since = since
        for row in self._rows:
            if row.event_id in ids and row.received >= since:
                yield from table([row]).to_batches()


def expected(batch: list[Row], before: list[Row]) -> list[bool]:
    """A repeat: the id was received within the horizon before, in a row that was handled or stands earlier in the batch."""
    return [
        any(
            other.event_id == row.event_id and row.received - other.received <= timedelta(days=HORIZON)
            for other in (*before, *(r for r in batch if (r.partition, r.offset) < (row.partition, row.offset)))
        )
        for row in batch
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.randoms(use_true_random=False))
@example(([Row(0, 0, "a", 0), Row(0, 1, "a", 8), Row(1, 0, "a", 1)], {0: 1}, {0: 2, 1: 1}), None)
def test_repeats_are_what_was_received_within_the_horizon(
    history: tuple[list[Row], dict[int, int], dict[int, int]], shuffler: object
) -> None:
    rows, handled, ends = history
    before = [row for row in rows if row.offset < handled.get(row.partition, 0)]
    batch = [row for row in rows if row not in before and row.offset < ends[row.partition]]
    if shuffler is not None:
        shuffler.shuffle(batch)  # type: ignore[attr-defined]
    bronze = Bronze(rows)  # bronze may be ahead of the batch, and holds it after a crash
    seen = SeenIds(HORIZON)
    newest = max((row.received.date() for row in before), default=date.min)
    for row in before:
        seen.add_received(hashed([row.event_id]), table([row]).column("received_at"), newest)
    suspects = seen.suspects(hashed([row.event_id for row in batch]), table(batch).column("received_at"))
    found = repeats(table(batch), suspects, HORIZON, handled, bronze.look_up)
    assert found.tolist() == expected(batch, before)
    if suspects.any():
        oldest = min(row.received for row, suspect in zip(batch, suspects, strict=True) if suspect)
        assert bronze.since == oldest - timedelta(days=HORIZON)


def test_the_first_days_of_the_calendar_have_no_horizon_before_them() -> None:
    rows = [Row(0, 0, "a", (date(1, 1, 2) - NOON.date()).days), Row(0, 1, "a", 0)]
    bronze = Bronze(rows)
    assert repeats(table(rows), np.ones(2, dtype=np.bool_), HORIZON, {}, bronze.look_up).tolist() == [False, False]
    assert bronze.since == datetime(1, 1, 1, tzinfo=UTC)


def test_without_suspects_nothing_is_looked_up() -> None:
    bronze = Bronze([])
    assert repeats(table([Row(0, 0, "a", 0)]), np.zeros(1, dtype=np.bool_), HORIZON, {}, bronze.look_up).tolist() == [
        False
    ]
    assert bronze.since is None
