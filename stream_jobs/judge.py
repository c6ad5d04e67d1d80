"""What becomes of the rows of a slice: silver, quarantine or nothing, staged and counted but not yet committed."""

from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Event

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from catalog.contract import Stream
from catalog.progress import Offsets, Totals
from stream_jobs.commit import LakeTable, Staged
from stream_jobs.duplicates import Hashes, SeenIds, repeats
from stream_jobs.entities import Position, fold
from stream_jobs.refine import Refiner
from stream_jobs.slices import Slice, below

# Below this a table gets one file a commit; above it the tasks write side by side.
ROWS_PER_FILE = 50_000


@dataclass(frozen=True)
class Judged:
    """Staged files for silver and quarantine, silver's rows that they replace (found at `read_at`), and the counts."""

    silver: Staged
    quarantine: Staged
    totals: Totals
    replaced: tuple[Position, ...] = ()
    read_at: int | None = None
    keys: Hashes | None = None


@dataclass(frozen=True)
class Judge:
    """The rules of one stream over its tables."""

    stream: Stream
    bronze: LakeTable
    quarantine: LakeTable
    silver: LakeTable
    refine: Refiner
    pool: Executor
    expects_bad: Event = field(default_factory=Event)

    def judge(self, batch: Slice, seen: SeenIds, keys: SeenIds, handled: Offsets, quarantined: Offsets) -> Judged:
        """`seen` ids and `keys` of entities are those that silver covers, `handled` its offsets before the batch; rows below
        `quarantined` are not quarantined again."""
        suspects = np.unique(batch.hashes[seen.suspects(batch.hashes)])
        if not len(suspects):
            return self._stage(batch, batch.rows, 0, keys, quarantined)
        again = repeats(batch.rows, suspects, self.bronze.path, below(handled), self.stream.horizon_days).persist()
        try:
            duplicates = again.count()
            rows = (
                batch.rows.join(F.broadcast(again), ["partition", "offset"], "left_anti") if duplicates else batch.rows
            )
            return self._stage(batch, rows, duplicates, keys, quarantined)
        finally:
            again.unpersist()

    def _stage(self, batch: Slice, rows: DataFrame, duplicates: int, keys: SeenIds, quarantined: Offsets) -> Judged:
        refined = self.refine(rows)
        left = len(batch) - duplicates
        # Quarantine is ahead of silver only after a crash between their two commits: then it has this very batch.
        has_them = all(quarantined.get(partition, 0) >= end for partition, end in batch.ends().items())
        early = None
        if self.expects_bad.is_set() and not has_them:
            # Where the last batch had bad rows this one may have some: don't wait for silver to know.
            early = self.pool.submit(self._quarantine, refined)
        judged = self._entities(refined, left, keys) if self.stream.kind == "entity" else self._events(refined, left)
        staged = Staged()
        if early is not None:
            staged = early.result()
        elif judged.totals.quarantine and not has_them:
            staged = self._quarantine(refined)
        (self.expects_bad.set if judged.totals.quarantine else self.expects_bad.clear)()
        totals = judged.totals.plus(Totals(rows=len(batch), duplicates=duplicates))
        return Judged(judged.silver, staged, totals, judged.replaced, judged.read_at, judged.keys)

    def _quarantine(self, refined: DataFrame) -> Staged:
        return self.quarantine.stage(self.refine.quarantine(refined), files=1)

    def _events(self, refined: DataFrame, rows: int) -> Judged:
        staged = self.silver.stage(self.refine.silver(refined), files=files_for(rows))
        return Judged(staged, Staged(), Totals(silver=staged.rows, quarantine=rows - staged.rows))

    def _entities(self, refined: DataFrame, rows: int, keys: SeenIds) -> Judged:
        folded = fold(self.refine.silver(refined), self.stream, self.silver, keys)
        try:
            staged = self.silver.stage(folded.rows, files=files_for(rows))
        finally:
            folded.release()
        gained = staged.rows - len(folded.replaced)
        totals = Totals(silver=gained, quarantine=rows - folded.accepted, superseded=folded.accepted - gained)
        return Judged(staged, Staged(), totals, folded.replaced, folded.read_at, folded.keys)


def files_for(rows: int) -> int | None:
    """How many tasks should write so many rows: one for few, as many as there are for many."""
    return 1 if rows < ROWS_PER_FILE else None
