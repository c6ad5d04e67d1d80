"""The commit protocol: the lake is its own checkpoint.

Every commit puts `sluice.offsets` into the snapshot's summary: for each Kafka partition the next offset to be taken,
once this snapshot is current. Rows and offsets change together or not at all, so nothing outside the table has to be
kept in step with it, and Spark's checkpoint may vanish.

Data files are written first and belong to nothing (`stream_jobs.files`). The commit is then one Iceberg update with a
`SnapshotAncestryValidator`, which Iceberg calls with the table's history as it is at the moment of
the commit, and again on each retry. It compares the offsets of the newest snapshot that carries any with those that this
writer started from. So a commit that was not based on the state which its writer read fails, even if the writer was
paused in between: it is a compare-and-swap on the offsets, not a lease. Maintenance that commits in between repeats the
offsets that it finds (`catalog.ancestry.Carried`) and so disturbs nobody. Only a batch whose deletes point into a file that was
rewritten meanwhile has to look its rows up again (RowsMovedError).

For one stream the order is bronze, quarantine, silver. Each table skips what it already has. So after a crash anywhere:
bronze ≥ quarantine ≥ silver in every partition, and silver's offsets say which batch is complete.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession

from catalog import names
from catalog.ancestry import Unmoved, newest
from catalog.maintenance.expiry import Cut
from catalog.progress import Offsets, Progress, Totals, encode_offsets, encode_totals
from stream_jobs.faults import point
from stream_jobs.files import Staged
from stream_jobs.session import activate

ICEBERG = "org.apache.iceberg"
# What Iceberg would say in each snapshot's summary, always the same. A table's metadata lists all its snapshots, and each commit
# writes that list and reads it again: without these words it is shorter.
NEEDLESS = ("iceberg-version", "engine-name", "engine-version", "app-name", "app-id")


class FencedError(Exception):
    """Another writer has moved the table on: this one must stop, its rows are not in the table."""


class RowsMovedError(Exception):
    """Rows that this commit deletes are no longer where they were found: look them up again. Nothing was committed."""


class FilesLateError(Exception):
    """The files of this commit were written so long ago that they may be gone. Nothing was committed; the batch is done again."""


class LakeTable:
    """One Iceberg table as the stream job writes it. Not thread-safe; one thread works on a stream at a time."""

    def __init__(self, spark: SparkSession, catalog: str, identifier: str) -> None:
        self.identifier = identifier
        self.path = f"{catalog}.{identifier}"
        self._spark = spark
        self._known = _Known.of(spark)
        activate(spark)
        self.java: Any = self._known.load(spark._jsparkSession, self.path)
        for word in NEEDLESS:  # said anew by each catalog that is opened, as the one of this table may have been
            self._known.context.remove(word)

    def progress(self) -> Progress:
        """The state of the newest snapshot that carries offsets."""
        self.java.refresh()
        return newest(self._known.ancestors(self.java))

    def commit(
        self, staged: Staged, base: Progress, offsets: Offsets, totals: Totals, read_at: int | None = None
    ) -> Progress:
        """Add staged files (and position deletes) and move the offsets, if the table is still where `base` says.

        `read_at` is the snapshot in which the deletes' positions were found. Raises FencedError if another writer was
        there, RowsMovedError if a file that a delete points into is gone, FilesLateError if those staged may be.
        """
        update: Any = self.java.newRowDelta() if staged.deletes else self.java.newAppend()
        for file in map(self._content_file, staged.files):
            update = update.addRows(file) if staged.deletes else update.appendFile(file)
        for file in map(self._content_file, staged.deletes):
            update = update.addDeletes(file)
        if staged.deletes:
            # A compaction that rewrote a file since we looked up positions in it would leave the deletes dangling.
            update = update.validateFromSnapshot(read_at).validateDeletedFiles()
            update = update.validateDataFilesExist(self._known.list_of(staged.into))
        update.set(names.P_OFFSETS, encode_offsets(offsets))
        update.set(names.P_TOTALS, encode_totals(totals))
        ensure_callback_server_started(self._spark.sparkContext._gateway)
        fence = Unmoved(base.offsets, staged.written, lambda: point(f"validated-{self.identifier.split('.')[0]}"))
        update.validateWith(fence)
        try:
            update.commit()
        except Py4JJavaError as failure:
            raise self._refused(failure, fence) from None
        # Not the current snapshot's id: a compaction may have come since.
        return Progress(dict(offsets), totals, int(update.updateEvent().snapshotId()))

    def parent(self, snapshot: int) -> int | None:
        """The snapshot that one of this writer's commits was made on; None for the table's first."""
        above = self.java.snapshot(snapshot).parentId()
        return None if above is None else int(above)

    def expire(self, cut: Cut) -> None:
        """Forget old snapshots, so that the table's metadata, which each commit writes anew, stays small.

        Data files that only those snapshots had stay: to find them is maintenance's work, and costs more than all else.
        """
        update = self.java.expireSnapshots().expireOlderThan(cut.older_than).retainLast(cut.retain)
        update.cleanupLevel(self._known.metadata_only).commit()

    def _content_file(self, described: str) -> JavaObject:
        return self._known.content_file(self._known.json.readTree(described), self.java.specs())

    def _refused(self, failure: Py4JJavaError, fence: Unmoved) -> Exception:
        java = failure.java_exception
        if java is None or java.getClass().getName() != f"{ICEBERG}.exceptions.ValidationException":
            return failure
        reason = f"{self.identifier}: {java.getMessage()}"
        if fence.moved:
            return FencedError(reason)
        return FilesLateError(reason) if fence.late else RowsMovedError(reason)


@dataclass(frozen=True)
class _Known:
    """What is used of Java, looked up once: py4j searches all jars for each part of a dotted name, each time."""

    load: Any
    ancestors: Any
    context: Any
    content_file: Any
    json: JavaObject
    metadata_only: JavaObject
    array_list: Any

    @staticmethod
    @lru_cache(maxsize=1)
    def of(spark: SparkSession) -> "_Known":
        """The same ones for all tables of a session."""
        jvm: Any = spark._jvm
        iceberg = jvm.org.apache.iceberg
        return _Known(
            load=iceberg.spark.Spark3Util.loadIcebergTable,
            ancestors=iceberg.util.SnapshotUtil.currentAncestors,
            context=iceberg.EnvironmentContext,
            content_file=iceberg.ContentFileParser.fromJson,
            json=iceberg.util.JsonUtil.mapper(),
            metadata_only=iceberg.ExpireSnapshots.CleanupLevel.METADATA_ONLY,
            array_list=jvm.java.util.ArrayList,
        )

    def list_of(self, values: Iterable[str]) -> JavaObject:
        found: JavaObject = self.array_list()
        for value in values:
            found.add(value)
        return found
