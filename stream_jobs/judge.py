"""What becomes of the rows of a slice: silver, quarantine or nothing, staged and counted but not yet committed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

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
    also the rows that are replaced, and the hashes of the keys. `broken`: rows by the rule and the column that they break."""

    silver: Staged
    quarantine: Staged
    totals: Totals
    read_at: int | None = None
    replaced: tuple[Position, ...] = ()
    keys: Hashes | None = None
    broken: Mapping[tuple[str, str], int] = field(default_factory=dict)


def by_rule(quarantine: pa.Table) -> Counter[tuple[str, str]]:
    """How many of quarantine's rows break each rule, by rule and column (none: ""). A row may break several."""
    reasons = quarantine.column("_violations").to_pylist()
    return Counter((one["rule"], one["column"] or "") for row in reasons for one in row)


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
        broken = by_rule(refined.quarantine)
        if self.stream.kind == "entity":
            return replace(self._entities(refined, bad, counted, keys), broken=broken)
        good = self.silver.write(refined.silver)
        return Judged(good, bad, counted.plus(Totals(silver=good.rows)), broken=broken)

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
