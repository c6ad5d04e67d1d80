"""The streaming query: Kafka → micro-batches → the writers of all streams, side by side."""

import json
import shutil
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Executor, Future, wait
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from catalog import names
from catalog.kafka_client import spark_options
from catalog.kafka_offsets import ISOLATION
from catalog.settings import LakeSettings
from stream_jobs import metrics
from stream_jobs.aside import Rests
from stream_jobs.failures import raise_unless_single
from stream_jobs.faults import point
from stream_jobs.lag import Lag
from stream_jobs.records import KAFKA_COLUMNS, bronze_rows
from stream_jobs.settings import StreamSettings, scratch
from stream_jobs.slices import Slice, by_topic, slice_of
from stream_jobs.writer import Outcome, StreamWriter

log = structlog.get_logger()
# Milliseconds between two looks at Kafka while nothing comes: what the first event after a silence may have to wait.
LOOK_EVERY = 100


class Batches:
    """`foreachBatch`'s function: reads a batch, then has it committed to all its streams.

    A small batch is committed before Spark goes on, and the next one is not begun before `interval` seconds have passed since
    this one was: so many snapshots are made at most. After a silence nothing is waited for. A large batch, as they are while the
    job catches up, is committed while Spark reads the next, without a pause: at most one batch waits. Spark thinks it done early,
    which harms nothing, for only the tables know how far they are.
    """

    def __init__(
        self, writers: Mapping[str, StreamWriter], pool: Executor, large: int, interval: float, rests: Rests, lag: Lag
    ) -> None:
        self._lag = lag
        self._rests = rests
        self._writers = {names.topic(name): writer for name, writer in writers.items()}
        self._pool = pool
        self._large = large
        self._interval = interval
        self._writing: Future[None] | None = None
        self._between = threading.Lock()
        self._settled = threading.Event()
        self.failure: BaseException | None = None

    def __call__(self, records: DataFrame, batch: int) -> None:
        """Raises what the writing of this batch, or of the one before, failed with: the query ends."""
        started = time.monotonic()
        if self._one(records, batch, started) < self._large:
            self._settled.wait(started + self._interval - time.monotonic())

    def _one(self, records: DataFrame, batch: int, started: float) -> int:
        """The number of its rows."""
        with self._between:
            if self._settled.is_set():
                raise RuntimeError("the query is being stopped")
            try:
                rows = bronze_rows(records.toArrow())
                metrics.PHASE.labels("read").observe(time.monotonic() - started)
                self._await()
                self._writing = self._pool.submit(self._write, rows, batch, started)
                if len(rows) < self._large:
                    self._await()
                return len(rows)
            except BaseException as failure:
                # Spark reports only the text of what a batch function raised; the reason must keep its type.
                self._failed(failure)
                raise

    def settle(self, limit: float) -> bool:
        """Take no more batches, and wait for the one that is being committed. False where that takes too long: a server may be
        away."""
        self._settled.set()  # first, so that a batch which is read for too long is the last one
        if not self._between.acquire(timeout=limit):
            return False
        try:
            return self._writing is None or not wait([self._writing], limit).not_done
        finally:
            self._between.release()

    def _await(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write(self, rows: pa.Table, batch: int, started: float) -> None:
        try:
            with metrics.PHASE.labels("write").time():
                outcomes = self._take({topic: slice_of(part) for topic, part in by_topic(rows)})
            report(outcomes, batch, time.monotonic() - started, self._lag)
        except BaseException as failure:
            # Nobody may ever ask for this one's result: the session looks at `failure`.
            self._failed(failure)
            raise

    def _failed(self, failure: BaseException) -> None:
        """The first failure ends the query. What comes after it is the same one, or a batch that was never tried."""
        if self.failure is None:
            self.failure = failure
            metrics.BATCHES.labels("failed").inc()

    def _take(self, slices: Mapping[str, Slice]) -> list[Outcome]:
        """What became of each stream's part. Rows of a stream that was set aside stay in Kafka: its offsets don't move."""
        point("before-batch")
        running = {
            writer.stream.name: self._pool.submit(writer.take, part)
            for topic, part in slices.items()
            if (writer := self._writers.get(topic)) is not None
        }
        failures = {name: failure for name, future in running.items() if (failure := future.exception()) is not None}
        everyone = [writer.stream.name for writer in self._writers.values()]
        raise_unless_single(failures, running.keys(), everyone, self._rests)
        for name in failures:
            del self._writers[names.topic(name)]
        for name in running.keys() - failures:
            self._rests.went_well(name)
        return [
            outcome for n, future in running.items() if n not in failures and (outcome := future.result()) is not None
        ]


def report(outcomes: list[Outcome], batch: int, seconds: float, lag: Lag) -> None:
    """One log line and the metrics of a batch."""
    now = datetime.now(UTC)
    for outcome in outcomes:
        counts = vars(outcome.totals)
        for name, rows in counts.items():
            if name != "rows" and rows > 0:
                metrics.ROWS.labels(outcome.stream, name).inc(rows)
        for (rule, column), rows in outcome.broken.items():
            metrics.VIOLATIONS.labels(outcome.stream, rule, column).inc(rows)
        metrics.BYTES.labels(outcome.stream).inc(outcome.bytes)
        metrics.COMMITTED.labels(outcome.stream).set(now.timestamp())
        # After what is told of the commit: whom the lag knows of, it can take all of that away again.
        lag.reached(outcome.stream, outcome.offsets, time.monotonic())
        if outcome.oldest is not None:
            metrics.FRESHNESS.labels(outcome.stream).observe(max(0.0, (now - outcome.oldest).total_seconds()))
    metrics.BATCHES.labels("done").inc()
    if outcomes:
        rows = {outcome.stream: vars(outcome.totals) for outcome in outcomes}
        log.info("batch", batch=batch, seconds=round(seconds, 3), streams=rows)


def start(
    spark: SparkSession,
    lake: LakeSettings,
    settings: StreamSettings,
    batches: Batches,
    starting: Mapping[str, Mapping[int, int]],
) -> StreamingQuery:
    """Start reading each topic at the given offsets. The checkpoint is new each time: the tables know where to begin."""
    for old in scratch().glob("checkpoint-*"):
        shutil.rmtree(old, ignore_errors=True)
    checkpoint = Path(scratch() / f"checkpoint-{uuid4().hex[:8]}")
    source = (
        spark.readStream.format("kafka")
        .options(**spark_options(lake))
        .option("subscribe", ",".join(sorted(starting)))
        .option("startingOffsets", json.dumps({t: {str(p): o for p, o in at.items()} for t, at in starting.items()}))
        .option("includeHeaders", "true")
        .option("maxOffsetsPerTrigger", settings.max_batch_rows)
        .option("failOnDataLoss", "true")
        .option("kafka.isolation.level", ISOLATION)
        .option("kafkaConsumer.pollTimeoutMs", "60000")
        .option("kafka.max.partition.fetch.bytes", str(8 * 1024 * 1024))
        .load()
        .select(*KAFKA_COLUMNS)  # here, once, and not of each batch
    )
    writer = source.writeStream.foreachBatch(batches).queryName("sluice")
    writer = writer.option("checkpointLocation", checkpoint.as_uri())
    # Spark's own record of its progress is never read here. Written once a minute beside the batches, it costs them nothing:
    # in time it is ten forks a batch (readlink, chmod). The check allows only sinks that need no such record, as ours.
    writer = writer.option("asyncProgressTrackingEnabled", "true")
    writer = writer.option("asyncProgressTrackingCheckpointIntervalMs", "60000")
    writer = writer.option("_asyncProgressTrackingOverrideSinkSupportCheck", "true")
    return writer.trigger(processingTime=f"{LOOK_EVERY} milliseconds").start()
