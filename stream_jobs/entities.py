"""Entity streams: silver holds one row a key, the latest by event time, then offset.

New rows are folded within the batch, compared with the rows that silver has for their keys, and the losers among those
are deleted by position (merge-on-read), so that a commit writes only what changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.contract import Stream
from stream_jobs.duplicates import Hashes, SeenIds, hashed
from stream_jobs.files import Position
from stream_jobs.held import Held

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Folded:
    """What a batch changes: the rows to add, the rows that they replace (found in silver's snapshot `read_at`), and the hashes
    of their keys."""

    rows: pa.Table
    replaced: tuple[Position, ...]
    read_at: int | None
    keys: Hashes


def keys_of(rows: pa.Table, stream: Stream) -> list[Key]:
    """The key of each row."""
    return list(zip(*(rows.column(name).to_pylist() for name in stream.key), strict=True))


def order_columns(stream: Stream) -> list[str]:
    """What tells which of two rows of a key is the later: one key has one partition (it is the message key), so offsets order
    its events; the partition settles the rest."""
    return [*([stream.event_time] if stream.event_time else []), "_kafka_offset", "_kafka_partition"]


def fold(good: pa.Table, stream: Stream, known: SeenIds, held: Held) -> Folded:
    """`good`: silver rows of the batch; `known`: hashes of the keys that silver has; `held` finds silver's rows by key.

    The result's rows are at most one a key, and newer than what silver holds. Silver is read only for keys that it may have.
    """
    names = order_columns(stream)
    ranked = good.take(pc.sort_indices(good, [(name, "ascending", "at_start") for name in names]))
    latest: dict[Key, int] = {key: place for place, key in enumerate(keys_of(ranked, stream))}
    keys, places = list(latest), np.fromiter(latest.values(), dtype=np.int64, count=len(latest))
    hashes = hashed(keys)
    suspects = {key for key, may in zip(keys, known.suspects(hashes), strict=True) if may}
    winners = ranked.take(places)
    if not suspects:
        return Folded(winners, (), None, hashes)
    ranks = {key: rank for key, rank in zip(keys, _ranks(winners, names), strict=True) if key in suspects}
    standing = held.rows(suspects)
    late: set[Key] = set()
    replaced: list[Position] = []
    for key, rank, position in standing.found:
        if ranks[key] >= _comparable(rank):
            replaced.append(position)
        else:
            late.add(key)
    if late:
        winners = winners.filter(pa.array([key not in late for key in keys]))
    return Folded(winners, tuple(replaced), standing.snapshot, hashes)


def _ranks(rows: pa.Table, names: list[str]) -> list[tuple[Any, ...]]:
    return [_comparable(rank) for rank in zip(*(rows.column(name).to_pylist() for name in names), strict=True)]


def _comparable(rank: Sequence[Any]) -> tuple[Any, ...]:
    """A missing event time is before all others."""
    return tuple((value is not None, value) if value is not None else (False,) for value in rank)
