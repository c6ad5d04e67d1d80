"""Which rows of a batch are repeats of an event that was handled before.

A repeat is a row whose event id stands in bronze, received within the stream's horizon, at an offset that was handled
earlier; within one batch the lowest (partition, offset) is the first. Bronze's rows count whether they were repeats or not. So
the verdict follows from bronze and the batch's range alone, and a batch that is done again after a crash is judged the same.

Nearly all ids are new. A set of their 64-bit hashes says so without a look at the tables; only rows whose hash is known,
or stands twice in the batch, are compared by the id itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.int64]
Mask = NDArray[np.bool_]


class SeenIds:
    """Hashes of the ids of the last `horizon` days, 8 bytes each, in one sorted array a day of receipt. Of keys, which have no
    day, all are under `date.max`.

    What is forgotten is counted from the newest row that was handled, not from the clock. A row that is so late that its own
    horizon reaches beyond what is remembered (one partition may lag behind the others by days) is always a suspect.
    """

    def __init__(self, horizon_days: int, since: date = date.min) -> None:
        """`since`: the first day of which all ids will be added."""
        self._horizon = timedelta(days=horizon_days)
        self._floor = since
        self._days: dict[date, Hashes] = {}
        self._recent: dict[date, list[Hashes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._days.values())) + sum(len(part) for parts in self._recent.values() for part in parts)

    def suspects(self, hashes: Hashes, received: pa.ChunkedArray | None = None) -> Mask:
        """True where a hash was added before, stands more than once in `hashes`, or may have been forgotten."""
        # In order, so that looking them up walks through memory instead of jumping about in it.
        order = np.argsort(hashes)
        ordered = hashes[order]
        same = ordered[1:] == ordered[:-1]
        hits = np.zeros(len(hashes), dtype=np.bool_)
        hits[1:] |= same
        hits[:-1] |= same
        for known in (*self._days.values(), *(part for parts in self._recent.values() for part in parts)):
            if len(known):
                at = np.minimum(np.searchsorted(known, ordered), len(known) - 1)
                hits |= known[at] == ordered
        found: Mask = np.empty_like(hits)
        found[order] = hits
        if received is not None and self._floor > date.min:
            found |= np.asarray(pc.fill_null(pc.less(received.cast(pa.date32()), self._floor + self._horizon), True))
        return found

    def add(self, hashes: Hashes, day: date) -> None:
        """Remember these of one day."""
        parts = self._recent.setdefault(day, [])
        parts.append(np.sort(hashes))
        # Many small arrays make each look-up slower; merging one with all at each batch would cost more than it saves.
        if len(parts) >= 16:
            self._days[day] = np.sort(np.concatenate([self._days.get(day, hashes[:0]), *parts]))
            self._recent[day] = []

    def add_received(self, hashes: Hashes, received: pa.ChunkedArray, today: date) -> None:
        """Remember these, each under the day of its receipt; forget days beyond the horizon before the newest."""
        days = received.cast(pa.date32())
        newest = date.min
        for day in filter(None, days.unique().to_pylist()):
            self.add(hashes[np.asarray(pc.fill_null(pc.equal(days, day), False))], day)
            # A time of receipt in the future is somebody's wrong clock, and no reason to forget.
            newest = max(newest, min(day, today))
        keep = self._horizon + timedelta(days=1)
        if newest - date.min > keep:
            self._forget(newest - keep)

    def _forget(self, before: date) -> None:
        for known in (self._days, self._recent):
            for old in [day for day in known if day < before]:
                del known[old]
                self._floor = max(self._floor, before)


def hashed(values: pa.ChunkedArray | Iterable[object]) -> Hashes:
    """The 64-bit hashes that `SeenIds` holds: Python's own, which differ from one process to the next."""
    listed = values.to_pylist() if isinstance(values, pa.ChunkedArray) else list(values)
    return np.fromiter(map(hash, listed), dtype=np.int64, count=len(listed))


# Looks ids up in bronze: (ids, oldest receipt) → batches of event_id, received_at, partition, offset.
LookUp = Callable[[list[str], datetime], Iterator[pa.RecordBatch]]


def repeats(rows: pa.Table, suspects: Mask, horizon_days: int, handled: Mapping[int, int], look_up: LookUp) -> Mask:
    """True for the rows that are repeats.

    `rows`: bronze rows of the batch; `suspects`: those that may repeat; `handled`: the offsets that silver had before.
    """
    again = np.zeros(len(rows), dtype=np.bool_)
    asked = np.flatnonzero(suspects)
    few = rows.select(["event_id", "received_at", "partition", "offset"]).take(asked)
    ids, received, *place = (column.to_pylist() for column in few.columns)
    if not ids:
        return again
    horizon, oldest = timedelta(days=horizon_days), min(received)
    since = oldest - min(horizon, oldest - datetime.min.replace(tzinfo=UTC))
    newest = _handled_before(look_up(sorted(set(ids)), since), handled)
    for _, row, event_id, moment in sorted(zip(zip(*place, strict=True), asked, ids, received, strict=True)):
        before = newest.get(event_id)
        again[row] = before is not None and moment - before <= horizon
        newest[event_id] = moment if before is None else max(before, moment)
    return again


def _handled_before(found: Iterator[pa.RecordBatch], handled: Mapping[int, int]) -> dict[str, datetime]:
    """When each id was received last among the rows below these offsets."""
    newest: dict[str, datetime] = {}
    for batch in found:
        before = np.zeros(len(batch), dtype=np.bool_)
        partitions, offsets = (batch.column(name).to_numpy() for name in ("partition", "offset"))
        for partition, offset in handled.items():
            before |= (partitions == partition) & (offsets < offset)
        rows = batch.filter(pa.array(before))
        for event_id, moment in zip(*(rows.column(n).to_pylist() for n in ("event_id", "received_at")), strict=True):
            newest[event_id] = max(moment, newest.get(event_id, moment))
    return newest
