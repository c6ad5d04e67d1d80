"""Offsets and totals as a snapshot carries them, and what a writer concludes from them."""

from datetime import date, timedelta

import numpy as np
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
from stream_jobs.duplicates import SeenIds
from stream_jobs.slices import window
from stream_jobs.verify import _ranges

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


def test_ids_beyond_the_horizon_are_forgotten() -> None:
    seen = SeenIds(horizon_days=7)
    today = date(2026, 1, 10)
    seen.add(np.array([1], dtype=np.int64), today - timedelta(days=9))
    seen.add(np.array([2], dtype=np.int64), today - timedelta(days=7))
    seen.add(np.array([3], dtype=np.int64), today)
    assert seen.suspects(np.array([1, 2, 3], dtype=np.int64)).tolist() == [False, True, True]


def test_deviating_offsets_are_told_as_ranges() -> None:
    assert _ranges([1, 2, 3, 7, 9, 9, 10]) == ("1-3", "7-7", "9-10")
