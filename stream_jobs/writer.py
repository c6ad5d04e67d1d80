"""One stream's way through a batch: bronze → quarantine → silver, and the catching up after a crash."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow.compute as pc
import structlog
from pyarrow.fs import FileSystem
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from catalog import names
from catalog.contract import Stream
from catalog.progress import Offsets, Span, Totals, latest, spans
from stream_jobs.commit import LakeTable
from stream_jobs.duplicates import SeenIds, id_hash
from stream_jobs.entities import key_hash, write_deletes
from stream_jobs.faults import point
from stream_jobs.judge import Judge, Judged, files_for
from stream_jobs.records import BRONZE_COLUMNS
from stream_jobs.refine import Refiner
from stream_jobs.session import activate
from stream_jobs.slices import Slice, below, places, slice_of, window, within

# Batches of a stream between two expirations of snapshots.
EXPIRE_EVERY = 60
log = structlog.get_logger()


@dataclass(frozen=True)
class Outcome:
    """What one batch did to one stream; `offsets` are silver's after it."""

    stream: str
    totals: Totals
    offsets: Mapping[int, int]


class StreamWriter:
    """The tables of one stream and how far each is. Raises FencedError when another writer has been there."""

    def __init__(
        self,
        spark: SparkSession,
        catalog: str,
        stream: Stream,
        files: FileSystem,
        pool: Executor,
        snapshot_age: timedelta = timedelta(minutes=15),
    ) -> None:
        self.stream = stream
        self._snapshot_age = snapshot_age
        self._batches = 0
        self._spark = spark
        self._files = files
        self._pool = pool
        self._bronze, self._quarantine, self._silver = (
            LakeTable(spark, catalog, names.table(layer, stream.name))
            for layer in (names.BRONZE, names.QUARANTINE, names.SILVER)
        )
        self._in_bronze = self._bronze.progress()
        self._in_quarantine = self._quarantine.progress()
        self._in_silver = self._silver.progress()
        self._judge = Judge(stream, self._bronze, self._quarantine, self._silver, Refiner(stream), pool)
        self._seen = self._warm()
        self._keys = self._warm_keys()

    @property
    def offsets(self) -> Offsets:
        """Where bronze, and so the reading of Kafka, goes on."""
        return self._in_bronze.offsets

    @property
    def totals(self) -> Totals:
        """Rows since the stream began, by what became of them."""
        return self._in_silver.totals

    def catch_up(self, most_rows: int) -> Iterator[Outcome]:
        """Bring silver to where bronze is, from bronze. Done at start, before anything new is taken.

        The first step ends exactly where quarantine is, if that is ahead: it is the batch that was cut off between the
        two commits, and it must be judged with the same rows again.
        """
        if lag := spans(self._in_silver.offsets, self._in_quarantine.offsets):
            yield self._from_bronze(lag)
        while lag := spans(self._in_silver.offsets, self._in_bronze.offsets):
            yield self._from_bronze(window(lag, most_rows))

    def take(self, batch: Slice) -> Outcome | None:
        """Commit new rows of Kafka to the three tables. Rows that bronze has are skipped."""
        activate(batch.rows.sparkSession)
        batch = batch.beyond(self._in_bronze.offsets)
        if not len(batch):
            return None
        offsets = latest(self._in_bronze.offsets, batch.ends())
        staged = self._pool.submit(self._bronze.stage, batch.rows.select(*BRONZE_COLUMNS), files=files_for(len(batch)))

        def commit_bronze() -> None:
            files = staged.result()
            point("before-bronze")
            totals = self._in_bronze.totals.plus(Totals(rows=files.rows))
            self._in_bronze = self._bronze.commit(files, self._in_bronze, offsets, totals)
            point("after-bronze")

        return self._complete(batch, offsets, commit_bronze)

    def _from_bronze(self, lag: list[Span]) -> Outcome:
        rows = self._spark.table(self._bronze.path).where(within(lag)).persist()
        try:
            offsets = latest(self._in_silver.offsets, {span.partition: span.end for span in lag})
            return self._complete(slice_of(rows, places(rows)), offsets, lambda: None)
        finally:
            rows.unpersist()

    def _complete(self, batch: Slice, offsets: Offsets, commit_bronze: Callable[[], None]) -> Outcome:
        """Judge and stage first, so that the commits follow each other closely."""
        judged = self._judge.judge(batch, self._seen, self._keys, self._in_silver.offsets, self._in_quarantine.offsets)
        commit_bronze()
        self._commit_quarantine(judged, offsets)
        self._commit_silver(judged, offsets)
        self._seen.add(batch.hashes, datetime.now(UTC).date())
        if judged.keys is not None:
            self._keys.add(judged.keys, date.max)
        self._tidy()
        return Outcome(self.stream.name, judged.totals, dict(offsets))

    def _commit_quarantine(self, judged: Judged, offsets: Offsets) -> None:
        if judged.quarantine.files:
            totals = self._in_quarantine.totals.plus(Totals(quarantine=judged.quarantine.rows))
            self._in_quarantine = self._quarantine.commit(judged.quarantine, self._in_quarantine, offsets, totals)
            point("after-quarantine")

    def _commit_silver(self, judged: Judged, offsets: Offsets) -> None:
        # Committed even if every row was bad: silver's offsets mark the batch as complete.
        deletes = write_deletes(self._silver, self._files, judged.replaced)
        totals = self._in_silver.totals.plus(judged.totals)
        self._in_silver = self._silver.commit(judged.silver, self._in_silver, offsets, totals, deletes, judged.read_at)
        point("after-silver")

    def _tidy(self) -> None:
        self._batches += 1
        if self._batches % EXPIRE_EVERY:
            return
        for table in (self._bronze, self._quarantine, self._silver):
            try:
                table.expire(self._snapshot_age)
            except Exception as failure:  # maintenance: the rows are committed, and the next time may do it
                log.warning("expire", table=table.identifier, reason=str(failure).splitlines()[0])

    def _warm(self) -> SeenIds:
        """The ids that silver's offsets cover, from bronze, as far back as the horizon."""
        seen = SeenIds(self.stream.horizon_days)
        if not self._in_silver.offsets:
            return seen
        since = datetime.now(UTC) - timedelta(days=self.stream.horizon_days)
        known = self._spark.table(self._bronze.path).where(below(self._in_silver.offsets))
        known = known.where(F.col("received_at") >= F.lit(since))
        table = known.select(F.to_date("received_at").alias("day"), id_hash().alias("hash")).toArrow()
        for day in table.column("day").unique().to_pylist():
            seen.add(table.filter(pc.field("day") == day).column("hash").to_numpy(), day)
        return seen

    def _warm_keys(self) -> SeenIds:
        """The keys that silver has, of an entity stream."""
        keys = SeenIds(self.stream.horizon_days)
        if self.stream.kind == "entity" and self._in_silver.offsets:
            table = self._spark.table(self._silver.path).select(key_hash(self.stream).alias("hash")).toArrow()
            keys.add(table.column("hash").to_numpy(), date.max)
        return keys
