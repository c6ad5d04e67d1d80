"""Checks of `sluice verify` over scratch tables that are filled here: each kind of deviation, and what is none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from catalog.contract import Stream
from catalog.progress import Progress, Totals
from catalog.settings import LakeSettings, read_settings
from stream_jobs.records import BRONZE
from stream_jobs.verify import holes
from stream_jobs.verify.content import older_versions, unlike_bronze, unlike_kafka
from stream_jobs.verify.cut import Cut
from stream_jobs.verify.fold import misfolded
from stream_jobs.verify.holes import Known, explained
from stream_jobs.verify.kafka import _neighbours, table_of
from stream_jobs.verify.load import below
from stream_jobs.verify.places import misplaced
from stream_jobs.verify.quick import expected_rows
from stream_jobs.verify.report import MOST_RANGES, Deviation, Range, deviations, shared, without
from stream_jobs.verify.scratch import Scratch
from tests.batches import NOON, column, stream

SETTINGS = read_settings(LakeSettings)
EVENTS = stream(column("n", "integer"))
ENTITIES = stream(column("k"), kind="entity", key=("k",))


@dataclass
class Lake:
    """A scratch as `load` fills it: rows are given with plain numbers for ids, hashes and keys."""

    room: Scratch
    of: Stream
    ends: Mapping[int, int] = field(default_factory=lambda: {0: 100, 1: 100})

    @property
    def cut(self) -> Cut:
        one = {
            layer: SimpleNamespace(name=f"{layer}.s", progress=Progress(self.ends, Totals()))
            for layer in ("bronze", "quarantine", "silver")
        }
        made: Any = SimpleNamespace(stream=self.of, **one, tables=tuple(one.values()))
        return made

    def bronze(
        self, offset: int, event_id: int, *, p: int = 0, days: float = 0, h: int = 0, version: str = "true"
    ) -> None:
        moment = (NOON + timedelta(days=days)).isoformat()
        self.room.run(f"insert into all_b values ({p}, {offset}, {event_id}, '{moment}', {h}, {version})")

    def judged(self, offset: int, *, p: int = 0, bad: bool = False, h: int = 0, key: int = 0, rank: int = 0) -> None:
        self.room.run(f"insert into w values ({p}, {offset}, {bad}, {h}, {key}, {rank})")

    def has(self, table: str, offset: int, *, p: int = 0, h: int = 0) -> None:
        self.room.run(f"insert into {table} values ({p}, {offset}, {h}, true)")

    def row(self, offset: int, event_id: int, *, p: int = 0, days: float = 0, into: str = "s", **facts: Any) -> None:
        """A row that is where the contract puts it."""
        self.bronze(offset, event_id, p=p, days=days)
        self.judged(offset, p=p, bad=into == "q", **facts)
        if into in ("s", "q"):
            self.has(into, offset, p=p)

    def misplaced(self) -> set[tuple[str, str, tuple[str, ...]]]:
        return told(misplaced(self.room, self.cut))


def told(found: Iterator[Deviation]) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(one.kind, one.table, one.offsets) for one in found}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path, "64MB")
    made.make("all_b", "p integer, o bigint, id uhugeint, r timestamptz, h ubigint, v boolean")
    made.make("w", "p integer, o bigint, bad boolean, h ubigint, k uhugeint, t bigint")
    for name in ("s", "q"):
        made.make(name, "p integer, o bigint, h ubigint, v boolean")
    made.make("k", "p integer, o bigint, h ubigint")
    made.run("create view committed as select distinct on (p, o) * from all_b")
    made.run("create view b as select * from committed")
    made.run("create view kept as select p, o from s union all select p, o from q")
    yield made
    made.close()


@pytest.fixture
def lake(room: Scratch) -> Lake:
    return Lake(room, EVENTS)


@pytest.fixture
def entities(room: Scratch) -> Lake:
    return Lake(room, ENTITIES)


def test_rows_that_are_where_they_belong_deviate_nowhere(lake: Lake) -> None:
    lake.row(0, 1)
    lake.row(1, 2, into="q")
    lake.row(2, 1, into="nowhere", days=6)  # a repeat of the first
    lake.row(3, 1, into="nowhere", days=12)  # a repeat of that repeat
    lake.row(4, 1, days=30)  # beyond the horizon: a new one
    assert lake.misplaced() == set()
    assert told(unlike_bronze(lake.room, lake.cut)) == set()


def test_a_row_that_is_nowhere_is_missing(lake: Lake) -> None:
    lake.row(0, 1)
    for offset in (3, 4, 5, 9):
        lake.row(offset, 10 + offset, into="nowhere")
    assert lake.misplaced() == {("missing", "silver.s", ("3-5", "9-9"))}


def test_a_repeat_whose_event_is_kept_nowhere_is_missing(lake: Lake) -> None:
    lake.row(0, 1, into="nowhere")
    lake.row(1, 1, into="nowhere")
    assert lake.misplaced() == {("missing", "silver.s", ("0-1",))}


def test_a_row_beyond_the_horizon_is_no_repeat(lake: Lake) -> None:
    lake.row(0, 1)
    lake.row(1, 1, into="nowhere", days=8)
    assert lake.misplaced() == {("missing", "silver.s", ("1-1",))}


def test_a_late_repeat_of_a_row_that_was_received_after_it_is_none_of_the_missing(lake: Lake) -> None:
    lake.row(0, 1, days=20)
    lake.row(0, 1, p=1, into="nowhere")
    assert lake.misplaced() == set()


def test_doubles_are_told_wherever_they_are(lake: Lake) -> None:
    lake.row(0, 1)
    lake.has("s", 0)
    lake.row(1, 2)
    lake.has("q", 1)
    lake.bronze(2, 3)
    lake.row(2, 3)
    lake.row(3, 4)
    lake.row(4, 4, days=1)  # kept, though it is a repeat
    assert lake.misplaced() == {
        ("doubled", "silver.s", ("0-0",)),
        ("doubled", "silver.s", ("1-1",)),
        ("doubled", "bronze.s", ("2-2",)),
        ("doubled", "silver.s", ("4-4",)),
    }


def test_rows_that_bronze_does_not_hold_are_unexpected(lake: Lake) -> None:
    lake.has("s", 7)
    lake.has("q", 8)
    lake.row(100, 1)
    assert lake.misplaced() == {
        ("unexpected", "silver.s", ("7-7",)),
        ("unexpected", "quarantine.s", ("8-8",)),
        ("unexpected", "bronze.s", ("100-100",)),
    }


def test_what_the_contract_makes_of_bronze_is_compared(lake: Lake) -> None:
    lake.row(0, 1)
    lake.bronze(1, 2)
    lake.judged(1, h=5)
    lake.has("s", 1, h=6)
    lake.bronze(2, 3)
    lake.judged(2, bad=True)
    lake.has("s", 2)
    lake.bronze(3, 4)
    lake.judged(3)
    lake.has("q", 3)
    assert told(unlike_bronze(lake.room, lake.cut)) == {
        ("altered", "silver.s", ("1-1",)),
        ("unexpected", "silver.s", ("2-2",)),
        ("unexpected", "quarantine.s", ("3-3",)),
    }


def test_rows_of_another_version_of_the_contract_are_not_recomputed(lake: Lake) -> None:
    lake.bronze(0, 1, version="false")
    lake.judged(0, bad=True)
    lake.has("s", 0)
    assert told(unlike_bronze(lake.room, lake.cut)) == set()
    assert older_versions(lake.room) == 1


def test_bronze_is_what_kafka_holds(lake: Lake) -> None:
    for offset in range(4):
        lake.bronze(offset, offset)
    lake.room.run("insert into k values (0, 1, 7), (0, 2, 0)")
    bounds = {0: (1, 4)}
    assert told(unlike_kafka(lake.room, lake.cut, bounds, compacted=False)) == {
        ("altered", "bronze.s", ("1-1",)),
        ("unexpected", "bronze.s", ("3-3",)),  # 0 is older than what Kafka has
    }
    assert told(unlike_kafka(lake.room, lake.cut, bounds, compacted=True)) == {("altered", "bronze.s", ("1-1",))}


def test_an_entity_stands_with_its_latest_row(entities: Lake) -> None:
    entities.row(0, 1, key=1, rank=5)
    entities.row(1, 2, key=1, rank=3, into="nowhere")
    entities.row(2, 3, key=2, rank=1, into="nowhere")
    entities.row(3, 4, key=2, rank=1)  # the same time: the later offset
    entities.row(4, 5, key=2, rank=9, into="q")
    assert told(misfolded(entities.room, entities.cut)) == set()


def test_an_older_row_of_a_key_is_altered_and_none_is_missing_and_two_are_doubled(entities: Lake) -> None:
    entities.row(0, 1, key=1, rank=3)
    entities.row(1, 2, key=1, rank=5, into="nowhere")
    entities.row(2, 3, key=2, into="nowhere")
    entities.row(3, 4, key=3, rank=1)
    entities.row(4, 5, key=3, rank=2)
    assert told(misfolded(entities.room, entities.cut)) == {
        ("altered", "silver.s", ("0-0", "3-3")),
        ("missing", "silver.s", ("2-2",)),
        ("doubled", "silver.s", ("3-4",)),
    }


def test_a_repeat_does_not_count_for_an_entity(entities: Lake) -> None:
    entities.row(0, 1, key=1, rank=1)
    entities.row(1, 1, key=1, rank=9, into="nowhere")
    assert told(misfolded(entities.room, entities.cut)) == set()


def test_of_equal_ids_in_two_partitions_either_may_stand(entities: Lake) -> None:
    entities.row(0, 1, key=1, rank=1)
    entities.row(0, 1, p=1, key=1, rank=9, into="nowhere")
    assert told(misfolded(entities.room, entities.cut)) == set()


def test_ranges_are_cut_out_and_shared() -> None:
    assert without([Range(0, 0, 10)], [Range(0, 2, 4), Range(1, 0, 10), Range(0, 8, 20)]) == [
        Range(0, 0, 2),
        Range(0, 4, 8),
    ]
    assert without([Range(0, 3, 5)], [Range(0, 0, 9)]) == []
    assert shared([Range(0, 0, 10), Range(1, 0, 5)], [Range(0, 8, 20), Range(0, 1, 3)]) == [
        Range(0, 1, 3),
        Range(0, 8, 10),
    ]


def test_offsets_are_told_as_ranges_the_first_of_them_by_name(room: Scratch) -> None:
    room.make("places", "p integer, o bigint")
    room.run("insert into places values (0, 3), (0, 1), (0, 2), (0, 2), (0, 7), (1, 8)")
    assert list(room.ranges("select * from places")) == [Range(0, 1, 4), Range(0, 7, 8), Range(1, 8, 9)]
    assert list(room.gaps("select * from places", {0: 9, 2: 2})) == [
        Range(0, 0, 1), Range(0, 4, 7), Range(0, 8, 9), Range(2, 0, 2),
    ]  # fmt: skip
    (found,) = deviations("missing", "t", "m", [Range(0, 2 * n, 2 * n + 1) for n in range(50)])
    assert (found.rows, len(found.offsets), found.line().count("…")) == (50, MOST_RANGES, 1)


def test_places_below_no_offsets_are_none() -> None:
    assert below({}) == "false"


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[int]]:
    """Offsets that Kafka has a record at."""
    there: dict[int, set[int]] = {}

    async def held(_: object, __: str, asked: list[Range]) -> list[Range]:
        return [Range(r.partition, o, o + 1) for r in asked for o in range(r.start, r.end) if o in there[r.partition]]

    monkeypatch.setattr(holes, "held", held)
    return there


def test_holes_are_void_accepted_or_a_loss(kafka: dict[int, set[int]]) -> None:
    kafka[0] = {12}
    found = explained(SETTINGS, "bronze.s", [Range(0, 2, 8), Range(0, 11, 14)], {0: (10, 20)}, [Range(0, 0, 6)], {})
    assert found.accepted == {0: 4}
    assert found.void == {0: 2}
    assert [(one.kind, one.offsets) for one in found.missing] == [("missing", ("6-7", "12-12"))]


def test_holes_that_were_void_when_kafka_had_them_stay_void(kafka: dict[int, set[int]]) -> None:
    kafka[0] = set()
    gaps = [Range(0, 2, 4), Range(0, 9, 10)]
    known = {0: Known(end=5, void=2)}
    assert explained(SETTINGS, "bronze.s", gaps, {0: (8, 20)}, [], known).void == {0: 3}
    (one,) = explained(SETTINGS, "bronze.s", gaps, {0: (8, 20)}, [], {0: Known(5, 1)}).missing
    assert one.offsets == ("2-3",)


def test_bronze_holds_as_many_rows_as_offsets_had_a_record() -> None:
    assert expected_rows({0: 10, 1: 5}, [Range(0, 2, 4), Range(0, 9, 30)], {1: Known(3, 1)}) == 15 - 3 - 1
    assert expected_rows({0: 10}, [], {0: Known(20, 5)}) == 10, "a ledger of a table that is gone says nothing"


def test_near_holes_are_read_in_one_go() -> None:
    far = [Range(0, 0, 1), Range(0, 50, 51), Range(0, 90_000, 90_001), Range(1, 0, 1)]
    assert [len(group) for group in _neighbours(far)] == [2, 1, 1]


def test_records_come_in_the_shape_of_the_stream_job() -> None:
    from stream_jobs.records import bronze_rows

    record: Any = SimpleNamespace(
        topic="s", partition=1, offset=5, timestamp=1_700_000_000_000, value=b"{}",
        headers=(("ce_id", b"a"), ("x", b"1"), ("x", b"2")),
    )  # fmt: skip
    rows = bronze_rows(table_of([record]))
    assert rows.schema.equals(BRONZE)
    (row,) = rows.to_pylist()
    assert (row["event_id"], row["offset"], row["headers"]) == ("a", 5, [("x", "2")])


def test_a_map_is_the_same_in_any_order(room: Scratch) -> None:
    from stream_jobs.verify.load import bronze_hash

    row = dict.fromkeys(BRONZE.names) | {"partition": 0, "offset": 0}
    room.make("hashes", "h ubigint")
    for headers in ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")], [("a", "2"), ("b", "1")]):
        room.add("hashes", pa.Table.from_pylist([row | {"headers": headers}], schema=BRONZE), bronze_hash())
    assert room.one("select count(distinct h) from hashes") == 2
