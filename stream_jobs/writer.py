"""One stream's way through a batch: bronze → quarantine → silver, and the catching up after a crash."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from pyarrow.fs import FileSystem
from pyiceberg.catalog import Catalog
from pyspark.sql import SparkSession

from catalog import names
from catalog.contract import Stream
from catalog.maintenance.expiry import TOO_MANY, cut
from catalog.maintenance.inventory import history
from catalog.progress import Offsets, Span, Totals, latest, spans
from stream_jobs.bronze import Bronze
from stream_jobs.commit import LakeTable, RowsMovedError
from stream_jobs.duplicates import SeenIds, hashed
from stream_jobs.entities import keys_of, order_columns
from stream_jobs.faults import point
from stream_jobs.files import TableFiles
from stream_jobs.held import Held
from stream_jobs.judge import Judge, Judged
from stream_jobs.metrics import PHASE
from stream_jobs.refine import Refiner
from stream_jobs.session import activate
from stream_jobs.slices import Slice, slice_of, window

# Batches of a stream between two looks at the snapshots of one of its tables.
EXPIRE_EVERY = 100
ONE_AT_A_TIME = Lock()
# Times that a batch finds the rows it replaces, before it gives up: compaction may move them meanwhile.
LOOK_UPS = 10
log = structlog.get_logger()


@dataclass(frozen=True)
class Outcome:
    """What one batch did to one stream; `offsets` are silver's after it, `oldest` is when its first row was received,
    `broken` counts rows by rule and column."""

    stream: str
    totals: Totals
    offsets: Mapping[int, int]
    bytes: int
    oldest: datetime | None
    broken: Mapping[tuple[str, str], int] = field(default_factory=dict)


class StreamWriter:
    """The tables of one stream and how far each is. Raises FencedError when another writer has been there."""

    def __init__(
        self,
        spark: SparkSession,
        catalog: Catalog,
        stream: Stream,
        files: FileSystem,
        pool: Executor,
        snapshot_age: timedelta = timedelta(minutes=5),
        turn: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.stream = stream
        self._snapshot_age = snapshot_age
        self._batches = crc32(stream.name.encode()) % EXPIRE_EVERY  # so that the streams take turns
        self._turn = turn
        self._catalog = catalog.name
        self._tables = catalog
        self._tidying: Future[None] = Future()
        self._tidying.set_result(None)
        self._spark = spark
        self._pool = pool
        bronze, quarantine, silver = (
            names.table(layer, stream.name) for layer in (names.BRONZE, names.QUARANTINE, names.SILVER)
        )
        self._bronze, self._quarantine, self._silver = (
            LakeTable(spark, self._catalog, table) for table in (bronze, quarantine, silver)
        )
        self._bronze_files, quarantine_files, silver_files = (
            TableFiles(catalog.load_table(table), files, pool) for table in (bronze, quarantine, silver)
        )
        self._in_bronze = self._bronze.progress()
        self._in_quarantine = self._quarantine.progress()
        self._in_silver = self._silver.progress()
        self._history = Bronze(catalog, bronze)
        self._held = Held(catalog, silver, files, stream.key, order_columns(stream))
        self._judge = Judge(stream, Refiner(stream), self._history, silver_files, quarantine_files, self._held)
        self._seen = self._warm()
        self._keys = self._warm_keys()

    @property
    def offsets(self) -> Offsets:
        """Where bronze, and so the reading of Kafka, goes on."""
        return self._in_bronze.offsets

    @property
    def complete(self) -> Offsets:
        """Where silver is."""
        return self._in_silver.offsets

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
        activate(self._spark)
        batch = batch.beyond(self._in_bronze.offsets)
        if not len(batch):
            return None
        offsets = latest(self._in_bronze.offsets, batch.ends())
        in_bronze = self._pool.submit(self._to_bronze, batch.rows, offsets)
        try:
            return self._complete(batch, offsets, in_bronze)
        finally:
            # Whoever goes on after a failure must find bronze at rest.
            wait([in_bronze])

    def _to_bronze(self, rows: pa.Table, offsets: Offsets) -> None:
        """Beside the judging, which does not see these rows: only what is below silver's offsets counts there."""
        activate(self._spark)
        files = self._bronze_files.write(rows)
        point("before-bronze")
        totals = self._in_bronze.totals.plus(Totals(rows=files.rows))
        self._in_bronze = self._bronze.commit(files, self._in_bronze, offsets, totals)
        point("after-bronze")

    def _from_bronze(self, lag: list[Span]) -> Outcome:
        offsets = latest(self._in_silver.offsets, {span.partition: span.end for span in lag})
        return self._complete(slice_of(self._history.rows(lag)), offsets, None)

    def _complete(self, batch: Slice, offsets: Offsets, in_bronze: "Future[None] | None") -> Outcome:
        # Only deletes disturb a compaction.
        with self._turn(self._silver.identifier) if self.stream.kind == "entity" else nullcontext():
            return self._judge_and_commit(batch, offsets, in_bronze)

    def _judge_and_commit(self, batch: Slice, offsets: Offsets, in_bronze: "Future[None] | None") -> Outcome:
        """Judge and stage first, so that the commits follow each other closely."""
        judged = self._judged(batch)
        with PHASE.labels("commit").time():
            if in_bronze is not None:
                in_bronze.result()
            self._commit_quarantine(judged, offsets)
        for left in reversed(range(LOOK_UPS)):
            try:
                with PHASE.labels("commit").time():
                    self._commit_silver(judged, offsets)
                break
            except RowsMovedError as moved:
                if not left:
                    raise
                log.info("look-up-again", stream=self.stream.name, reason=str(moved).splitlines()[0])
                self._held.forget()
                judged = self._judged(batch)
        self._seen.add_received(batch.hashes, batch.rows.column("received_at"), _today())
        if judged.keys is not None:
            self._keys.add(judged.keys, date.max)
            self._hold(judged)
        self._tidy()
        size = pc.sum(pc.binary_length(batch.rows.column("payload"))).as_py() or 0
        return Outcome(
            self.stream.name,
            judged.totals,
            dict(offsets),
            size,
            pc.min(batch.rows.column("received_at")).as_py(),
            judged.broken,
        )

    def _judged(self, batch: Slice) -> Judged:
        with PHASE.labels("judge").time():
            return self._judge.judge(
                batch, self._seen, self._keys, self._in_silver.offsets, self._in_quarantine.offsets
            )

    def _commit_quarantine(self, judged: Judged, offsets: Offsets) -> None:
        if judged.quarantine.files:
            totals = self._in_quarantine.totals.plus(Totals(quarantine=judged.quarantine.rows))
            self._in_quarantine = self._quarantine.commit(judged.quarantine, self._in_quarantine, offsets, totals)
            point("after-quarantine")

    def _commit_silver(self, judged: Judged, offsets: Offsets) -> None:
        point("before-silver")
        # Committed even if every row was bad: silver's offsets mark the batch as complete.
        totals = self._in_silver.totals.plus(judged.totals)
        self._in_silver = self._silver.commit(judged.silver, self._in_silver, offsets, totals, judged.read_at)
        point("after-silver")

    def _hold(self, judged: Judged) -> None:
        """Where silver's rows are after this commit is known: no need to read it."""
        made = self._in_silver.snapshot_id
        if made is not None:
            self._held.committed(judged.silver.kept, judged.replaced, made, self._silver.parent(made))

    def _tidy(self) -> None:
        """Expire a table's snapshots where nobody else does, beside the batches: each commit writes their list anew."""
        self._batches += 1
        if self._batches % EXPIRE_EVERY == 0 and self._tidying.done():
            tables = (self._bronze, self._silver, self._quarantine)
            self._tidying = self._pool.submit(self._expire, tables[self._batches // EXPIRE_EVERY % 3].identifier)

    def _expire(self, table: str) -> None:
        activate(self._spark)
        try:
            with ONE_AT_A_TIME:
                commits = history(self._tables.load_table(table))
                chosen = cut(commits, int(time.time() * 1000), int(self._snapshot_age.total_seconds() * 1000))
                if chosen is not None and chosen.expires > TOO_MANY:
                    # A handle of its own: the writer's is in use.
                    LakeTable(self._spark, self._catalog, table).expire(chosen)
        except Exception as failure:  # maintenance: the rows are committed, and the next time may do it
            log.warning("expire", table=table, reason=str(failure).splitlines()[0])

    def _warm(self) -> SeenIds:
        """The ids that silver's offsets cover, from bronze, as far back from the newest of them as the horizon."""
        newest = self._history.newest(self._in_silver.offsets)
        if newest is None and not any(self._in_silver.offsets.values()):
            return SeenIds(self.stream.horizon_days)
        # The last offset of a partition may hold no row, where a loss was accepted. Then as if its newest row were of today: what
        # is older than the horizon is looked up.
        last = _today() if newest is None else min(newest.date(), _today())
        since = last - timedelta(days=self.stream.horizon_days + 1)
        seen = SeenIds(self.stream.horizon_days, since)
        for batch in self._history.ids(self._in_silver.offsets, since):
            seen.add_received(hashed(batch.column("event_id").to_pylist()), batch.column("received_at"), _today())
        return seen

    def _warm_keys(self) -> SeenIds:
        """The keys that silver has, of an entity stream."""
        keys = SeenIds(self.stream.horizon_days)
        if self.stream.kind == "entity" and self._in_silver.offsets:
            for rows in self._held.all_keys():
                keys.add(hashed(keys_of(rows, self.stream)), date.max)
        return keys


def _today() -> date:
    return datetime.now(UTC).date()
