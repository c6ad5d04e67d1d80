"""When a batch is followed by the next: at once while behind, after a pause while not."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest

from stream_jobs.aside import Rests
from stream_jobs.lag import Lag
from stream_jobs.metrics import REGISTRY
from stream_jobs.query import Batches
from stream_jobs.records import KAFKA_COLUMNS
from tests.stack import eventually

HOURS = 3600.0
LARGE = 10
HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))


class Micro:
    """A micro-batch as Spark hands it over, of so many records of a topic that nobody writes."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def toArrow(self) -> pa.Table:  # noqa: N802 (Spark's name)
        at = datetime(2026, 11, 21, tzinfo=UTC)
        kinds = (pa.string(), pa.int32(), pa.int64(), pa.timestamp("us", "UTC"), pa.binary(), HEADERS)
        rows: list[tuple[Any, ...]] = [("strange", 0, offset, at, b"{}", []) for offset in range(self._rows)]
        schema = pa.schema(list(zip(KAFKA_COLUMNS, kinds, strict=True)))
        return pa.Table.from_pylist([dict(zip(KAFKA_COLUMNS, row, strict=True)) for row in rows], schema=schema)


def given(batches: Batches, rows: int, pool: ThreadPoolExecutor) -> "Future[None]":
    records: Any = Micro(rows)
    return pool.submit(batches, records, 0)


def batches_that(outcome: str) -> float:
    return REGISTRY.get_sample_value("sluice_stream_batches_total", {"outcome": outcome}) or 0.0


def done() -> float:
    return batches_that("done")


def test_a_large_batch_is_followed_at_once() -> None:
    with ThreadPoolExecutor() as pool:
        batches = Batches({}, pool, LARGE, HOURS, Rests(), Lag())
        given(batches, LARGE, pool).result(60)
        assert batches.settle(60)


def test_a_small_batch_is_followed_after_the_interval() -> None:
    with ThreadPoolExecutor() as pool:
        batches = Batches({}, pool, LARGE, 0.0, Rests(), Lag())
        given(batches, LARGE - 1, pool).result(60)


def test_a_job_that_is_to_stop_does_not_wait_for_the_interval() -> None:
    with ThreadPoolExecutor() as pool:
        batches, before = Batches({}, pool, LARGE, HOURS, Rests(), Lag()), done()
        pausing = given(batches, LARGE - 1, pool)
        eventually(lambda: done() == before + 1, 60, "the batch is written")
        assert not pausing.done(), "the interval is not over"
        assert batches.settle(60), "nothing is being written during the pause"
        pausing.result(60)
        assert isinstance(given(batches, 1, pool).exception(60), RuntimeError), "no batch is taken any more"


def test_a_batch_that_cannot_be_written_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batches, "_take", Mock(side_effect=OSError("the bucket is full")))
    with ThreadPoolExecutor() as pool:
        batches, failed, well = Batches({}, pool, LARGE, HOURS, Rests(), Lag()), batches_that("failed"), done()
        assert isinstance(given(batches, LARGE - 1, pool).exception(60), OSError)
        assert (batches_that("failed"), done()) == (failed + 1, well)


def test_a_large_batch_that_nobody_asks_for_is_counted_and_what_it_kept_from_being_tried_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Batches, "_take", Mock(side_effect=OSError("the bucket is full")))
    with ThreadPoolExecutor() as pool:
        batches, failed = Batches({}, pool, LARGE, HOURS, Rests(), Lag()), batches_that("failed")
        given(batches, LARGE, pool).result(60)
        eventually(lambda: batches_that("failed") == failed + 1, 60, "it is counted")
        assert isinstance(given(batches, LARGE, pool).exception(60), OSError)
        assert batches_that("failed") == failed + 1


def test_a_batch_that_cannot_be_read_is_counted() -> None:
    with ThreadPoolExecutor() as pool:
        batches, failed = Batches({}, pool, LARGE, HOURS, Rests(), Lag()), batches_that("failed")
        unreadable: Any = Mock(toArrow=Mock(side_effect=TimeoutError("Kafka is away")))
        assert isinstance(pool.submit(batches, unreadable, 0).exception(60), TimeoutError)
        assert batches_that("failed") == failed + 1
        assert batches.settle(60)
        assert isinstance(given(batches, 1, pool).exception(60), RuntimeError)
        assert batches_that("failed") == failed + 1, "one that is not taken any more has not failed"
