"""What becomes of the rows of a slice: silver, quarantine or nothing, staged and counted but not yet committed."""

from dataclasses import dataclass

import numpy as np

from catalog.contract import Stream
from catalog.progress import Offsets, Totals
from stream_jobs.bronze import Bronze
from stream_jobs.duplicates import Hashes, SeenIds, repeats
from stream_jobs.entities import fold
from stream_jobs.files import Position, Staged, TableFiles
from stream_jobs.held import Held
from stream_jobs.refine import Refined, Refiner
from stream_jobs.slices import Slice


@dataclass(frozen=True)
class Judged:
    """Staged files for silver and quarantine (silver's deletes were found in its snapshot `read_at`), and the counts. Of entities
    also the rows that are replaced, and the hashes of the keys."""

    silver: Staged
    quarantine: Staged
    totals: Totals
    read_at: int | None = None
    replaced: tuple[Position, ...] = ()
    keys: Hashes | None = None


@dataclass(frozen=True)
class Judge:
    """The rules of one stream over its tables."""

    stream: Stream
    refine: Refiner
    bronze: Bronze
    silver: TableFiles
    quarantine: TableFiles
    held: Held

    def judge(self, batch: Slice, seen: SeenIds, keys: SeenIds, handled: Offsets, quarantined: Offsets) -> Judged:
        """`seen` ids and `keys` of entities are those that silver covers, `handled` its offsets before the batch; rows below
        `quarantined` are not quarantined again."""
        again = self._repeats(batch, seen, handled)
        refined = self.refine(batch.only(~again).rows)
        counted = Totals(rows=len(batch), duplicates=int(again.sum()), quarantine=len(refined.quarantine))
        # Quarantine is ahead of silver only after a crash between their two commits: then it has this very batch.
        has_them = all(quarantined.get(partition, 0) >= end for partition, end in batch.ends().items())
        bad = Staged() if has_them else self.quarantine.write(refined.quarantine)
        if self.stream.kind == "entity":
            return self._entities(refined, bad, counted, keys)
        good = self.silver.write(refined.silver)
        return Judged(good, bad, counted.plus(Totals(silver=good.rows)))

    def _repeats(self, batch: Slice, seen: SeenIds, handled: Offsets) -> "np.typing.NDArray[np.bool_]":
        suspects = seen.suspects(batch.hashes, batch.rows.column("received_at"))
        if not suspects.any():
            return suspects
        return repeats(batch.rows, suspects, self.stream.horizon_days, handled, self.bronze.look_up)

    def _entities(self, refined: Refined, bad: Staged, counted: Totals, keys: SeenIds) -> Judged:
        folded = fold(refined.silver, self.stream, keys, self.held)
        written = self.silver.write(folded.rows, self.held.columns)
        staged = written.with_deletes(self.silver.delete(folded.replaced))
        gained = staged.rows - len(folded.replaced)
        totals = counted.plus(Totals(silver=gained, superseded=len(refined.silver) - gained))
        return Judged(staged, bad, totals, folded.read_at, folded.replaced, folded.keys)
