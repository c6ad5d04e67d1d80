"""Offsets and totals as a snapshot carries them, and what a writer concludes from them."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.kafka_offsets import GoneError, starting_offsets
from catalog.progress import (
    Span,
    Totals,
    decode_offsets,
    decode_totals,
    encode_offsets,
    encode_totals,
    latest,
    spans,
)
from stream_jobs.duplicates import Hashes, SeenIds
from stream_jobs.slices import window

OFFSETS = st.dictionaries(st.integers(0, 50), st.integers(0, 2**60), max_size=8)


@given(OFFSETS)
def test_offsets_survive_the_summary(offsets: dict[int, int]) -> None:
    assert decode_offsets(encode_offsets(offsets)) == offsets


@given(OFFSETS)
def test_equal_offsets_are_equal_text_whatever_their_order(offsets: dict[int, int]) -> None:
    assert encode_offsets(dict(reversed(offsets.items()))) == encode_offsets(offsets)


def test_totals_survive_the_summary_and_add_up() -> None:
    totals = Totals(rows=10, silver=6, quarantine=1, duplicates=2, superseded=1)
    assert decode_totals(encode_totals(totals)) == totals
    assert totals.plus(totals) == Totals(20, 12, 2, 4, 2)
    assert decode_totals(None) == Totals()


@given(OFFSETS, OFFSETS)
def test_spans_are_what_the_first_lacks(behind: dict[int, int], ahead: dict[int, int]) -> None:
    lag = spans(behind, ahead)
    reached = latest(behind, {span.partition: span.end for span in lag})
    assert spans(reached, ahead) == []
    assert all(span.start == behind.get(span.partition, 0) and span.end == ahead[span.partition] for span in lag)


def test_a_window_takes_the_oldest_rows_of_each_partition() -> None:
    assert window([Span(0, 5, 100), Span(1, 0, 3)], 20) == [Span(0, 5, 15), Span(1, 0, 3)]


def test_reading_starts_where_bronze_ends_and_new_partitions_at_zero() -> None:
    assert starting_offsets("orders", {0: (0, 9), 1: (3, 7)}, {1: 5}) == {0: 0, 1: 5}


def test_offsets_that_kafka_no_longer_has_are_named() -> None:
    with pytest.raises(GoneError, match="offsets 5 to 7 of partition 0"):
        starting_offsets("orders", {0: (8, 20)}, {0: 5})


def test_a_topic_that_was_made_anew_is_noticed() -> None:
    with pytest.raises(GoneError, match="made anew"):
        starting_offsets("orders", {0: (0, 3)}, {0: 5})


def test_ids_are_suspect_when_seen_before_or_twice_in_a_batch() -> None:
    seen = SeenIds(horizon_days=7)
    today = date(2026, 1, 10)
    for hashes in np.array_split(np.arange(0, 1000, 2, dtype=np.int64), 40):  # enough parts to be merged
        seen.add(hashes, today)
    assert len(seen) == 500
    batch = np.array([1, 3, 3, 998, 2, 7], dtype=np.int64)
    assert seen.suspects(batch).tolist() == [False, True, True, True, True, False]


def received(*days: date) -> pa.ChunkedArray:
    """Times of receipt at noon of these days."""
    return pa.chunked_array([pa.array([datetime.combine(d, time(12), UTC) for d in days], pa.timestamp("us", "UTC"))])


def ids(*hashes: int) -> Hashes:
    return np.array(hashes, dtype=np.int64)


def test_ids_beyond_the_horizon_are_forgotten() -> None:
    seen = SeenIds(horizon_days=7)
    today = date(2026, 1, 10)
    days = [today - timedelta(days=n) for n in (9, 7, 0)]
    seen.add_received(ids(1, 2, 3), received(*days), today)
    assert len(seen) == 2
    assert seen.suspects(ids(1, 2, 3), received(today, today, today)).tolist() == [False, True, True]


def test_a_row_whose_horizon_reaches_beyond_the_memory_is_a_suspect() -> None:
    seen = SeenIds(horizon_days=7)
    today = date(2026, 1, 20)
    seen.add_received(ids(1), received(today - timedelta(days=9)), today)
    seen.add_received(ids(2), received(today), today)
    late = today - timedelta(days=4)
    assert seen.suspects(ids(1, 7), received(late, today)).tolist() == [True, False]


def test_an_outage_forgets_nothing_that_is_within_the_horizon_of_what_waited() -> None:
    seen = SeenIds(horizon_days=7)
    before, today = date(2026, 1, 10), date(2026, 1, 30)
    seen.add_received(ids(1), received(before), before)
    # Twenty days later a row is handled that was received two days after the first.
    assert seen.suspects(ids(1), received(before + timedelta(days=2))).tolist() == [True]
    seen.add_received(ids(2), received(before + timedelta(days=2)), today)
    assert seen.suspects(ids(1), received(before + timedelta(days=3))).tolist() == [True]


def test_a_time_of_receipt_in_the_future_makes_nobody_forget() -> None:
    seen = SeenIds(horizon_days=7)
    today = date(2026, 1, 10)
    seen.add_received(ids(1), received(today), today)
    seen.add_received(ids(2), received(date(2099, 1, 1)), today)
    assert seen.suspects(ids(1, 2, 3), received(today, today, today)).tolist() == [True, True, False]
