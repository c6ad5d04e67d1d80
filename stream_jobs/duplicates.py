"""Which rows of a batch are repeats of an event that was handled before.

A repeat is a row whose event id stands in bronze, received within the stream's horizon, at an offset that was handled
earlier; within one batch the lowest (partition, offset) is the first. So the verdict follows from bronze and the batch's
range alone, and a batch that is done again after a crash is judged the same.

Nearly all ids are new. A set of their 64-bit hashes says so without a look at the tables; only rows whose hash is known,
or stands twice in the batch, are compared by the id itself.
"""

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

Hashes = NDArray[np.int64]

# Up to this many ids are looked up by value, which lets Iceberg skip files by their bounds; more are joined.
LOOK_UP_BY_VALUE = 500


class SeenIds:
    """Hashes of the ids of the last `horizon` days, 8 bytes each, in one sorted array a day. Of keys, which have no day, all
    are under `date.max`."""

    def __init__(self, horizon_days: int) -> None:
        self._horizon = timedelta(days=horizon_days + 1)
        self._days: dict[date, Hashes] = {}
        self._recent: dict[date, list[Hashes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._days.values())) + sum(len(part) for parts in self._recent.values() for part in parts)

    def suspects(self, hashes: Hashes) -> NDArray[np.bool_]:
        """True where a hash was added before or stands more than once in `hashes`."""
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        found: NDArray[np.bool_] = counts[inverse] > 1
        for known in (*self._days.values(), *(part for parts in self._recent.values() for part in parts)):
            if len(known):
                at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
                found |= known[at] == hashes
        return found

    def add(self, hashes: Hashes, day: date) -> None:
        """Remember these; forget days beyond the horizon."""
        parts = self._recent.setdefault(day, [])
        parts.append(np.sort(hashes))
        # Many small arrays make each look-up slower; merging one with all at each batch would cost more than it saves.
        if len(parts) >= 16:
            self._days[day] = np.sort(np.concatenate([self._days.get(day, hashes[:0]), *parts]))
            self._recent[day] = []
        for known in (self._days, self._recent):
            for old in [d for d in known if d < day - self._horizon]:
                del known[old]


def id_hash(column: str = "event_id") -> Column:
    """The hash that `SeenIds` holds."""
    return F.xxhash64(column)


def repeats(rows: DataFrame, suspects: Hashes, bronze: str, handled: Column, horizon_days: int) -> DataFrame:
    """(partition, offset) of the rows that are repeats.

    `rows`: bronze rows of the batch; `suspects`: hashes that may repeat; `bronze`: the table's full name; `handled`:
    the condition for bronze rows that silver had before this batch.
    """
    few = len(suspects) <= LOOK_UP_BY_VALUE
    asked = rows.select("partition", "offset", "event_id", "received_at")
    if few:
        asked = asked.where(id_hash().isin([int(h) for h in suspects]))
    first = asked.groupBy("event_id").agg(F.min(F.struct("partition", "offset")).alias("first"))
    oldest = asked.agg(F.min("received_at")).first()
    ids = [row["event_id"] for row in first.select("event_id").collect()] if few else []
    past = rows.sparkSession.table(bronze).where(handled)
    if oldest is not None and oldest[0] is not None:
        past = past.where(F.col("received_at") >= F.lit(oldest[0] - timedelta(days=horizon_days)))
    if few:
        known = past.where(F.col("event_id").isin(ids)).select("event_id").distinct()
    else:
        known = past.join(F.broadcast(first.select("event_id")), "event_id", "left_semi").select("event_id").distinct()
    judged = asked.join(F.broadcast(first), "event_id").join(
        F.broadcast(known.withColumn("known", F.lit(True))), "event_id", "left"
    )
    place = F.struct("partition", "offset")
    return judged.where(F.col("known").isNotNull() | (place != F.col("first"))).select("partition", "offset")
