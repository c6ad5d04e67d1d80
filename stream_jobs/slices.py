"""A stream's part of a batch, with what the driver must know of each row: its place and its id's hash."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from catalog.progress import Span
from stream_jobs.duplicates import Hashes, id_hash


@dataclass(frozen=True)
class Slice:
    """Rows in bronze's shape, and for each of them (in no order) partition, offset and id hash."""

    rows: DataFrame
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
        if bool(keep.all()):
            return self
        rows = self.rows.where(~below(offsets))
        return Slice(rows, self.partitions[keep], self.offsets[keep], self.hashes[keep])


def places(rows: DataFrame) -> pa.Table:
    """topic, partition, offset, hash of each row, collected: about 30 bytes a row."""
    return rows.select("topic", "partition", "offset", id_hash().alias("hash")).toArrow()


def slice_of(rows: DataFrame, of: pa.Table) -> Slice:
    """Rows and the places that were collected of them."""
    partitions, offsets, hashes = (of.column(name).to_numpy() for name in ("partition", "offset", "hash"))
    return Slice(rows, partitions, offsets, hashes)


def below(offsets: Mapping[int, int]) -> Column:
    """Rows below these offsets; none of a partition that isn't named."""
    condition = F.lit(False)
    for partition, offset in offsets.items():
        condition = condition | ((F.col("partition") == partition) & (F.col("offset") < offset))
    return condition


def within(spans: list[Span]) -> Column:
    """Rows inside any of these spans."""
    condition = F.lit(False)
    for span in spans:
        inside = (F.col("offset") >= span.start) & (F.col("offset") < span.end)
        condition = condition | ((F.col("partition") == span.partition) & inside)
    return condition


def window(lag: list[Span], most_rows: int) -> list[Span]:
    """The oldest part of the lag, of at most so many offsets, shared out over its partitions."""
    share = max(1, most_rows // len(lag))
    return [Span(span.partition, span.start, min(span.end, span.start + share)) for span in lag]
