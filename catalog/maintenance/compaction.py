"""Which files of a partition are merged into one. Plain decisions over facts about files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.data_files import PartitionValues

MIB = 1024 * 1024
# Files below this are always merged with each other.
TINY = MIB
# A larger file is merged once the smaller ones together have this part of its size: so a row is rewritten about log₂ times
# in its life, and the sizes of the files that are left grow like those of a binary counter.
RATIO = 0.7
# Fewer small files than this are left alone, and so are fewer delete files.
FEWEST = 5
FEWEST_DELETES = 5
# A data file of which so many rows are deleted is written anew, however large it is.
DEAD = 0.25
# A file of this part of the target's size is large enough; any two smaller ones fit into one.
FULL = 0.5


@dataclass(frozen=True, slots=True)
class File:
    """A live data or delete file. `sequence` orders commits; `at` is when it was added (milliseconds; 0: long ago)."""

    path: str
    spec_id: int
    partition: PartitionValues
    size: int
    rows: int
    sequence: int
    at: int = 0
    parquet: bool = True


Place = tuple[int, PartitionValues]


@dataclass(frozen=True)
class Group:
    """Data files of one partition that become one, and the position delete files of that partition, which become few."""

    place: Place
    files: tuple[File, ...]
    deletes: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes that the work reads."""
        return sum(file.size for file in (*self.files, *self.deletes))


def plan(
    data: Iterable[File], deletes: Iterable[File], dead: Mapping[str, int], target: int, budget: int
) -> list[Group]:
    """What to do in one run, of at most `budget` bytes: first where most files are. `dead`: deleted rows by data file."""
    files, deleting = by_place(data), by_place(deletes)
    groups = [
        group
        for place, found in files.items()
        for group in _groups(place, found, deleting.get(place, []), dead, target)
    ]
    # Delete files of a partition that has no data file any more point nowhere.
    groups += [Group(place, (), tuple(found)) for place, found in deleting.items() if place not in files]
    chosen: list[Group] = []
    left = budget
    for group in sorted(groups, key=lambda group: -len(group.files) - len(group.deletes)):
        if group.size <= left or not chosen:  # one that is larger than the budget must be done some day
            chosen.append(group)
            left -= group.size
    return chosen


def to_merge(data: Iterable[File], target: int) -> int:
    """How many data files would be merged into others, were there no budget. Those that are rightly left small are none of them."""
    return sum(len(merged) for files in by_place(data).values() for merged in _merges(files, target))


def by_place(files: Iterable[File]) -> dict[Place, list[File]]:
    """Files by partition."""
    found: dict[Place, list[File]] = {}
    for file in files:
        found.setdefault((file.spec_id, file.partition), []).append(file)
    return found


def _groups(
    place: Place, files: Sequence[File], deletes: Sequence[File], dead: Mapping[str, int], target: int
) -> Iterator[Group]:
    if not all(delete.parquet for delete in deletes):
        return
    worn = [file for file in files if file.parquet and dead.get(file.path, 0) > DEAD * file.rows][:FEWEST]
    merges = _merges([file for file in files if file not in worn], target)
    merged = next(merges, [])
    # Delete files that are left by a compaction are one for each data file that has dead rows.
    needed = sum(dead.get(file.path, 0) > 0 for file in files)
    if merged or worn or len(deletes) >= needed + FEWEST_DELETES:
        yield Group(place, (*merged, *worn), tuple(deletes))
    for more in merges:
        yield Group(place, tuple(more), tuple(deletes))


def _merges(files: Iterable[File], target: int) -> Iterator[list[File]]:
    """The small ones of a partition's files, by what becomes one file each."""
    small = sorted((file for file in files if file.parquet and file.size < FULL * target), key=lambda file: file.size)
    while merged := _alike(small, target):
        yield merged
        small = small[len(merged) :]


def _alike(ordered: list[File], target: int) -> list[File]:
    """The smallest files of which each is not much larger than all before it together, and what is smaller still; together no
    more than the target. None if they are few. `ordered` is by size."""
    start = total = 0
    for place, file in enumerate(ordered):
        if total + file.size > target or (file.size > TINY and file.size * RATIO > total > 0):
            if place - start >= FEWEST:
                return ordered[:place]
            start, total = place, 0
        total += file.size
    return ordered if len(ordered) - start >= FEWEST else []
