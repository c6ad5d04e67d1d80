"""What maintenance decides, from facts alone: which snapshots may go, which files are merged, where dead rows are afterwards."""

import random
from collections.abc import Iterator
from itertools import count
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.maintenance import metrics, rounds, work
from catalog.maintenance.compaction import FEWEST, FEWEST_DELETES, MIB, TINY, File, Group, plan, to_merge
from catalog.maintenance.expiry import KEEP, SLACK, Commit, Cut, cut
from catalog.maintenance.inventory import Inventory
from catalog.maintenance.replace import carry
from catalog.maintenance.rewrite import Merged, Moved
from catalog.maintenance.tools import FAILED, Done, Tools

AGE = 300_000
NOW = 10_000_000
NUMBERS = count()


def kept(history: list[Commit], chosen: Cut | None) -> int:
    """How many of the newest snapshots Iceberg keeps: a prefix of the ancestry, by number or by age."""
    if chosen is None:
        return len(history)
    depth = 0
    while depth < len(history) and (depth < chosen.retain or history[depth].at >= chosen.older_than):
        depth += 1
    return depth


def a_commit_a_second(seconds: int, offsets: bool = True) -> list[Commit]:
    return [Commit(NOW - 1000 * n, offsets) for n in range(seconds)]


def test_old_snapshots_go_and_those_of_the_safe_age_stay() -> None:
    history = a_commit_a_second(1000)
    chosen = cut(history, NOW, AGE)
    assert chosen is not None
    assert kept(history, chosen) == 301
    assert chosen.expires == 699


def test_nothing_goes_while_all_are_young() -> None:
    assert cut(a_commit_a_second(200), NOW, AGE) is None


def test_the_newest_stay_whatever_their_age() -> None:
    history = [Commit(NOW - 10 * AGE - n, True) for n in range(100)]
    assert kept(history, cut(history, NOW, AGE)) == KEEP


def test_an_old_snapshot_that_was_current_until_just_now_stays() -> None:
    """A query may have begun on it a second ago."""
    quiet = [Commit(NOW - 1000 * n, True) for n in range(KEEP + 5)]
    old = [Commit(NOW - 50 * AGE - n, True) for n in range(60)]
    history = [*quiet, *old]
    assert kept(history, cut(history, NOW, AGE)) == len(quiet) + 1


@given(st.integers(0, 400), st.integers(0, 200), st.integers(0, 3 * AGE))
def test_the_newest_snapshot_with_offsets_stays(without: int, behind: int, spread: int) -> None:
    """However many commits without offsets others made since, and some more that come before the expiry."""
    history = [Commit(NOW - n * spread, False) for n in range(without)]
    history += [Commit(NOW - (without + n) * spread, n % 3 == 0) for n in range(behind)]
    chosen = cut(history, NOW, AGE)
    later = [Commit(NOW, False)] * SLACK
    if behind:
        assert kept([*later, *history], chosen) > without + SLACK
        assert kept(history, chosen) > without


def file(size: int, rows: int = 1000, place: int = 0, **facts: object) -> File:
    return File(f"f{next(NUMBERS)}", 0, (place,), size, rows, next(NUMBERS), **facts)  # type: ignore[arg-type]


def merged(groups: list[Group]) -> list[int]:
    return [len(group.files) for group in groups]


def test_small_files_of_a_partition_are_merged() -> None:
    small = [file(20_000, place=n % 2) for n in range(20)]
    assert merged(plan(small, [], {}, 128 * MIB, 256 * MIB)) == [10, 10]


def test_few_small_files_and_large_ones_are_left_alone() -> None:
    large = [file(64 * MIB) for _ in range(30)]
    assert plan([*large, *(file(20_000) for _ in range(FEWEST - 1))], [], {}, 128 * MIB, 256 * MIB) == []


def test_files_of_one_size_are_merged_whatever_it_is() -> None:
    """Smaller ones, too few for themselves, go with them; much larger ones don't."""
    found = [*(file(20_000) for _ in range(3)), *(file(2 * MIB) for _ in range(30)), file(90 * MIB)]
    assert merged(plan(found, [], {}, 128 * MIB, 256 * MIB)) == [33]


def test_a_round_reads_no_more_than_its_budget_and_begins_where_most_files_are() -> None:
    crowded = [file(2 * MIB, place=1) for _ in range(10)]
    less = [file(2 * MIB, place=2) for _ in range(6)]
    groups = plan([*less, *crowded], [], {}, 128 * MIB, 25 * MIB)
    assert [(group.place, len(group.files)) for group in groups] == [((0, (1,)), 10)]


def test_files_that_are_no_parquet_are_left_to_an_engine() -> None:
    assert plan([file(20_000, parquet=False) for _ in range(10)], [], {}, 128 * MIB, 256 * MIB) == []
    puffin = [file(100, parquet=False) for _ in range(10)]
    assert plan([file(20_000) for _ in range(10)], puffin, {}, 128 * MIB, 256 * MIB) == []


def test_a_file_with_many_dead_rows_is_rewritten_however_large() -> None:
    worn, fresh = file(120 * MIB), file(120 * MIB)
    groups = plan([worn, fresh], [file(1000)], {worn.path: 300, fresh.path: 10}, 128 * MIB, MIB)
    assert [[f.path for f in group.files] for group in groups] == [[worn.path]]


def test_delete_files_are_merged_once_they_are_many_and_then_left_alone() -> None:
    data = [file(120 * MIB) for _ in range(8)]
    dead = {f.path: 10 for f in data}
    many = [file(1000) for _ in range(len(data) + FEWEST_DELETES)]
    (group,) = plan(data, many, dead, 128 * MIB, MIB)
    assert (group.files, group.deletes) == ((), tuple(many))
    assert plan(data, many[: len(data)], dead, 128 * MIB, MIB) == []


def test_delete_files_of_a_partition_without_data_go() -> None:
    (group,) = plan([], [file(1000, place=7)], {}, 128 * MIB, MIB)
    assert (group.place, len(group.deletes)) == ((0, (7,)), 1)


def test_small_files_that_are_rightly_left_count_for_nothing_however_old_the_table() -> None:
    """Four a day, and others of which each is much larger than all before it."""
    left = [*(20_000 for _ in range(FEWEST - 1)), *(2 * MIB * 2**n for n in range(5))]
    days = [file(size, place=day) for day in range(365) for size in left]
    assert plan(days, [], {}, 128 * MIB, 256 * MIB) == []
    assert to_merge(days, 128 * MIB) == 0
    behind = [*(file(20_000, place=7) for _ in range(3)), *(file(2 * MIB, place=400) for _ in range(100))]
    assert to_merge([*days, *behind], 128 * MIB) == len(behind) + FEWEST - 1
    assert to_merge([file(20_000, parquet=False) for _ in range(10)], 128 * MIB) == 0


@given(st.lists(st.tuples(st.integers(1, 200 * MIB), st.integers(0, 2)), max_size=60))
def test_what_is_told_to_be_merged_is_what_a_round_without_a_budget_merges(sizes: list[tuple[int, int]]) -> None:
    files = [file(size, place=place) for size, place in sizes]
    assert to_merge(files, 128 * MIB) == sum(merged(plan(files, [], {}, 128 * MIB, 10**12)))


@pytest.mark.parametrize("size", [5_000, 60_000, 400_000, 3_000_000])
def test_hours_of_a_file_a_second_stays_few_files_at_a_bounded_price(size: int) -> None:
    """A round a minute. After each, few files are left; a byte is rewritten about as often as the table doubles."""
    dice = random.Random(size)
    files: list[File] = []
    rewritten = written = most = 0
    for _ in range(4 * 60):
        new = [file(int(size * dice.uniform(0.5, 1.5))) for _ in range(60)]
        written += sum(f.size for f in new)
        files += new
        for group in plan(files, [], {}, 128 * MIB, 256 * MIB):
            rewritten += group.size
            gone = {f.path for f in group.files}
            files = [f for f in files if f.path not in gone] + [file(group.size)]
        most = max(most, sum(f.size < 64 * MIB for f in files))
    assert most <= 20
    assert rewritten <= written * (2 + np.log2(96 * MIB / min(TINY, 60 * size)))


def test_positions_are_where_the_rows_went() -> None:
    moved = Moved(100, np.array([0, 3, 4]))
    assert moved.places(np.array([1, 2, 3, 5, 9])).tolist() == [100, 101, 102, 106]
    assert moved.places(np.array([0, 3])).tolist() == []


@given(st.lists(st.integers(0, 40), unique=True), st.lists(st.integers(0, 40), unique=True))
def test_a_row_keeps_its_value_at_its_new_place(before: list[int], since: list[int]) -> None:
    rows = np.arange(41)
    dead = np.array(sorted(before), dtype=np.int64)
    new = np.delete(rows, dead)
    places = Moved(0, dead).places(np.array(sorted({*before, *since}), dtype=np.int64))
    assert new[places].tolist() == sorted(set(since) - set(before))


def test_what_was_deleted_meanwhile_is_carried_over() -> None:
    sources = (file(1, rows=10), file(1, rows=10))
    other, gone = file(1), file(1)
    moves = {sources[0].path: Moved(0, np.array([1])), sources[1].path: Moved(9, np.array([], dtype=np.int64))}
    group = Group((0, (0,)), sources, ())
    dead = {
        sources[0].path: np.array([1, 2]),
        sources[1].path: np.array([0]),
        other.path: np.array([5]),
        gone.path: np.array([6]),
    }
    after = carry(dead, [other.path, *(f.path for f in sources)], group, Merged("new", "{}", 1, 19, moves))
    assert {path: rows.tolist() for path, rows in after.items()} == {"new": [1, 9], other.path: [5]}


def test_a_table_that_fails_does_not_stop_the_others_but_the_end_of_memory_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_tools: Tools, identifier: str) -> Iterator[Done]:
        raise MemoryError if identifier == "silver.large" else ValueError("broken")

    monkeypatch.setattr(work, "compact", fails)
    tools = Mock(dry_run=True)
    done = rounds.one_round(tools, ["silver.broken", "silver.other"], lambda _: False)
    assert [(one.table, one.outcome) for one in done] == [("silver.broken", FAILED), ("silver.other", FAILED)]
    with pytest.raises(MemoryError):
        rounds.one_round(tools, ["silver.large", "silver.other"], lambda _: False)


def test_the_gauge_of_small_files_tells_what_compaction_would_merge() -> None:
    left = [file(20_000, place=day) for day in range(30) for _ in range(FEWEST - 1)]
    table = Mock(snapshots=Mock(return_value=[]))
    inventory = Inventory(1, (*left, *(file(20_000, place=99) for _ in range(FEWEST))))
    tools: Any = Mock(load=Mock(return_value=(table, inventory)), settings=Mock(target_mib=128))
    metrics.observe(tools, "silver.observed", with_metadata=False)
    told = {
        name: metrics.REGISTRY.get_sample_value(f"sluice_maintenance_{name}", {"table": "silver.observed"})
        for name in ("files", "small_files")
    }
    assert told == {"files": 31 * (FEWEST - 1) + 1, "small_files": FEWEST}
