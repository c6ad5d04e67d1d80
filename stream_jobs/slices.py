"""A stream's part of a batch, with what the driver must know of each row: its place and its id's hash."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.progress import Span
from stream_jobs.duplicates import Hashes, hashed


@dataclass(frozen=True)
class Slice:
    """Rows in bronze's shape, and for each of them partition, offset and id hash."""

    rows: pa.Table
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.offsets)

    def ends(self) -> dict[int, int]:
        """For each partition the offset after the last row."""
        return {int(p): int(self.offsets[self.partitions == p].max()) + 1 for p in np.unique(self.partitions)}

    def beyond(self, offsets: Mapping[int, int]) -> "Slice":
        """Without the rows below these offsets."""
        keep = np.ones(len(self), dtype=np.bool_)
        for partition, offset in offsets.items():
            keep &= (self.partitions != partition) | (self.offsets >= offset)
        return self.only(keep)

    def only(self, keep: NDArray[np.bool_]) -> "Slice":
        """The rows that are marked."""
        if bool(keep.all()):
            return self
        return Slice(self.rows.filter(pa.array(keep)), self.partitions[keep], self.offsets[keep], self.hashes[keep])


def slice_of(rows: pa.Table) -> Slice:
    """Rows in bronze's shape as a slice."""
    partitions, offsets = (rows.column(name).to_numpy() for name in ("partition", "offset"))
    return Slice(rows, partitions, offsets, hashed(rows.column("event_id")))


def window(lag: list[Span], most_rows: int) -> list[Span]:
    """The oldest part of the lag, of at most so many offsets, shared out over its partitions."""
    share = max(1, most_rows // len(lag))
    return [Span(span.partition, span.start, min(span.end, span.start + share)) for span in lag]


def by_topic(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each topic."""
    for topic in rows.column("topic").unique().to_pylist():
        yield topic, rows.filter(pc.equal(rows.column("topic"), topic))
