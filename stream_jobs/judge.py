"""What becomes of the rows of a slice: silver, quarantine or nothing, staged and counted but not yet committed."""

from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from catalog.contract import Stream
from catalog.progress import Offsets, Totals
from stream_jobs.commit import LakeTable, Staged
from stream_jobs.duplicates import SeenIds, repeats
from stream_jobs.entities import Position, fold
from stream_jobs.refine import OK, Refiner, quarantine_rows, silver_rows
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


@dataclass(frozen=True)
class Judge:
    """The rules of one stream over its tables."""

    stream: Stream
    bronze: LakeTable
    quarantine: LakeTable
    silver: LakeTable
    refine: Refiner

    def judge(self, batch: Slice, seen: SeenIds, handled: Offsets, quarantined: Offsets) -> Judged:
        """`handled` are silver's offsets before the batch; rows below `quarantined` are not quarantined again."""
        suspects = np.unique(batch.hashes[seen.suspects(batch.hashes)])
        if not len(suspects):
            return self._stage(batch, batch.rows, 0, quarantined)
        again = repeats(batch.rows, suspects, self.bronze.path, below(handled), self.stream.horizon_days).persist()
        try:
            duplicates = again.count()
            rows = (
                batch.rows.join(F.broadcast(again), ["partition", "offset"], "left_anti") if duplicates else batch.rows
            )
            return self._stage(batch, rows, duplicates, quarantined)
        finally:
            again.unpersist()

    def _stage(self, batch: Slice, rows: DataFrame, duplicates: int, quarantined: Offsets) -> Judged:
        refined = self.refine(rows)
        judged = (self._entities if self.stream.kind == "entity" else self._events)(refined, len(batch) - duplicates)
        # Quarantine is ahead of silver only after a crash between their two commits: then it has this very batch.
        has_them = all(quarantined.get(partition, 0) >= end for partition, end in batch.ends().items())
        bad = judged.totals.quarantine
        staged = Staged()
        if bad and not has_them:
            staged = self.quarantine.stage(quarantine_rows(refined, self.stream), files=files_for(bad))
        totals = judged.totals.plus(Totals(rows=len(batch), duplicates=duplicates))
        return Judged(judged.silver, staged, totals, judged.replaced, judged.read_at)

    def _events(self, refined: DataFrame, rows: int) -> Judged:
        staged = self.silver.stage(silver_rows(refined, self.stream), files=files_for(rows))
        return Judged(staged, Staged(), Totals(silver=staged.rows, quarantine=rows - staged.rows))

    def _entities(self, refined: DataFrame, rows: int) -> Judged:
        # The fold hides how many good rows there were, so the bad ones are counted.
        bad = refined.where(~F.col(OK)).count()
        folded = fold(silver_rows(refined, self.stream), self.stream, self.silver)
        try:
            staged = self.silver.stage(folded.rows, files=files_for(rows))
        finally:
            folded.release()
        gained = staged.rows - len(folded.replaced)
        totals = Totals(silver=gained, quarantine=bad, superseded=rows - bad - gained)
        return Judged(staged, Staged(), totals, folded.replaced, folded.read_at)


def files_for(rows: int) -> int | None:
    """How many tasks should write so many rows: one for few, as many as there are for many."""
    return 1 if rows < ROWS_PER_FILE else None
