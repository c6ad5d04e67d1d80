"""Data files and position delete files: what their JSON tells Iceberg, what stands in them, and reading them back."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import Transform, parse_transform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
)

from stream_jobs.files import LONGEST_NAME, Kept, Position, Staged, TableFiles
from stream_jobs.held import Held

KINDS = {
    "s": StringType(), "i": IntegerType(), "n": LongType(), "t": TimestamptzType(), "d": DateType(), "b": BooleanType(),
    "f": FloatType(),
    "x": DoubleType(), "small": DecimalType(9, 2), "mid": DecimalType(18, 2), "large": DecimalType(38, 10), "bin": BinaryType(),
}  # fmt: skip
SCHEMA = Schema(
    *(NestedField(n, name, kind) for n, (name, kind) in enumerate(KINDS.items(), 1)),
    NestedField(20, "list", ListType(21, IntegerType(), element_required=False)),
    NestedField(22, "o", StructType(NestedField(23, "d", DateType()))),
)


def moment(*of: int) -> datetime:
    return datetime(*of, tzinfo=UTC)  # type: ignore[misc,arg-type]


ROWS: list[dict[str, Any]] = [
    {"s": "é/a b", "i": 7, "n": 2**40, "t": moment(2026, 1, 2, 3, 4, 5, 6), "d": date(2026, 1, 2), "b": True, "f": 0.5,
    "x": 1e300,
     "small": Decimal("1.50"), "mid": Decimal("123456789012.34"), "large": Decimal("1234567890123456789012345678.0123456789"),
     "bin": b"\xfe" * 40,
     "list": [1, None], "o": {"d": date(2026, 1, 1)}},
    {"s": "", "i": -7, "n": -1, "t": moment(1969, 12, 31, 23, 59, 59, 999999), "d": date(1969, 12, 31), "b": False, "f": -0.5,
    "x": -0.1,
     "small": Decimal("-1.50"), "mid": Decimal("-0.01"), "large": Decimal("-0.0000000001"), "bin": b"", "list": [],
     "o": {"d": None}},
    {"s": "z" * 30, "i": 0, "n": 0, "t": moment(1, 1, 1), "d": date.min, "b": True, "f": 0.0, "x": 0.0,
     "small": Decimal(0), "mid": Decimal(0), "large": Decimal(0), "bin": b"\0", "list": None, "o": None},
    {"s": "é/a b", "i": 7, "n": 2**40, "t": moment(2026, 1, 2, 3, 59, 59), "d": date(2026, 1, 2), "b": True, "list": [5]},
    {},
]  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlCatalog]:
    place = tmp_path_factory.mktemp("lake")
    found = SqlCatalog("lake", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}")
    found.create_namespace("silver")
    yield found
    found.close()


@pytest.fixture(scope="module")
def store() -> PyFileSystem:
    """A store that has no folders of its own, like S3."""
    return PyFileSystem(FSSpecHandler(LocalFileSystem(auto_mkdir=True)))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as found:
        yield found


@pytest.fixture
def table(catalog: SqlCatalog, request: pytest.FixtureRequest) -> Table:
    return create(catalog, request.node.name)


def create(catalog: SqlCatalog, name: str, *parts: tuple[str, str]) -> Table:
    """A new table, partitioned by (column, transform)."""
    fields = []
    for number, (column, word) in enumerate(parts, 1000):
        transform: Transform[Any, Any] = parse_transform(word)
        label = column if word == "identity" else f"{column}_{number}"
        fields.append(PartitionField(SCHEMA.find_field(column).field_id, number, transform, label))
    identifier = f"silver.{''.join(c if c.isalnum() else '_' for c in name)}"
    return catalog.create_table(
        identifier, SCHEMA, partition_spec=PartitionSpec(*fields), properties={"format-version": "2"}
    )


def arrow(rows: list[dict[str, Any]]) -> pa.Table:
    kinds = [
        pa.string(), pa.int32(), pa.int64(), pa.timestamp("us", "UTC"), pa.date32(), pa.bool_(), pa.float32(), pa.float64(),
        pa.decimal128(9, 2),
        pa.decimal128(18, 2), pa.decimal128(38, 10), pa.binary(), pa.list_(pa.int32()), pa.struct([("d", pa.date32())]),
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip([*KINDS, "list", "o"], kinds, strict=True))))


def facts(staged: Staged) -> list[dict[str, Any]]:
    return [json.loads(file) for file in staged.files]


def content(file: dict[str, Any]) -> pa.Table:
    return pq.read_table(file["file-path"].removeprefix("file://"), partitioning=None)


EPOCH = date(1970, 1, 1)
HOUR = timedelta(hours=1)
PARTITIONS: dict[tuple[str, str], Any] = {
    ("t", "year"): lambda v: v.year - 1970,
    ("t", "month"): lambda v: (v.year - 1970) * 12 + v.month - 1,
    ("t", "day"): lambda v: v.date().isoformat(),
    ("t", "hour"): lambda v: (v - moment(1970, 1, 1)) // HOUR,
    ("t", "identity"): lambda v: v.isoformat(timespec="auto"),
    ("d", "year"): lambda v: v.year - 1970,
    ("d", "month"): lambda v: (v.year - 1970) * 12 + v.month - 1,
    ("d", "day"): lambda v: v.isoformat(),
    ("d", "identity"): lambda v: v.isoformat(),
    ("s", "identity"): lambda v: v,
    ("s", "truncate[3]"): lambda v: v[:3],
    ("i", "identity"): lambda v: v,
    ("i", "truncate[10]"): lambda v: v - v % 10,
    ("n", "truncate[10]"): lambda v: v - v % 10,
    ("b", "identity"): lambda v: v,
    ("s", "void"): lambda v: None,
    **{(column, "bucket[4]"): None for column in "sintd"},
}


@pytest.mark.parametrize(("column", "word"), PARTITIONS)
def test_each_row_is_in_the_file_of_its_partition(
    catalog: SqlCatalog, store: PyFileSystem, pool: ThreadPoolExecutor, column: str, word: str
) -> None:
    table = create(catalog, f"{column}_{word}", (column, word))
    of = PARTITIONS[column, word]
    if of is None:  # Iceberg's own function is the reference of its hash
        of = parse_transform(word).transform(KINDS[column])
    staged = TableFiles(table, store, pool).write(arrow(ROWS))
    assert staged.rows == len(ROWS)
    found: dict[Any, list[Any]] = {}
    for file in facts(staged):
        rows = content(file).column(column).to_pylist()
        assert file["record-count"] == len(rows)
        assert len(file["partition"]) == 1
        found.setdefault(file["partition"][0], []).append(rows)
    values = [row.get(column) for row in ROWS]
    expected: dict[Any, list[Any]] = {}
    for value in values:
        expected.setdefault(None if value is None else of(internal(value) if "bucket" in word else value), []).append(
            value
        )
    assert {part: sorted(rows[0], key=repr) for part, rows in found.items()} == {
        part: sorted(rows, key=repr) for part, rows in expected.items()
    }
    assert all(len(files) == 1 for files in found.values())


def internal(value: Any) -> Any:
    """Dates and times as Iceberg's transforms of single values take them."""
    if isinstance(value, datetime):
        return (value - moment(1970, 1, 1)) // timedelta(microseconds=1)
    return (value - EPOCH).days if isinstance(value, date) else value


def test_several_partition_fields_and_rows_without_any(
    catalog: SqlCatalog, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    table = create(catalog, "several", ("d", "day"), ("b", "identity"))
    files = facts(TableFiles(table, store, pool).write(arrow(ROWS)))
    assert sorted((file["partition"], file["record-count"]) for file in files if None not in file["partition"]) == [
        (["0001-01-01", True], 1), (["1969-12-31", False], 1), (["2026-01-02", True], 2),
    ]  # fmt: skip
    assert [file["record-count"] for file in files if file["partition"] == [None, None]] == [1]


def test_the_json_tells_what_stands_in_the_file(table: Table, store: PyFileSystem, pool: ThreadPoolExecutor) -> None:
    (file,) = facts(TableFiles(table, store, pool).write(arrow(ROWS)))
    path = Path(file["file-path"].removeprefix("file://"))
    assert path.stat().st_size == file["file-size-in-bytes"]
    assert (file["content"], file["file-format"], file["spec-id"], file["partition"]) == ("data", "parquet", 0, [])
    assert file["record-count"] == len(ROWS)

    def by_id(name: str) -> dict[int, Any]:
        return dict(zip(file[name]["keys"], file[name]["values"], strict=True))

    nulls, counts = by_id("null-value-counts"), by_id("value-counts")
    for name, kind in KINDS.items():
        number = table.schema().find_field(name).field_id
        values = [row[name] for row in ROWS if row.get(name) is not None]
        assert (counts[number], nulls[number]) == (len(ROWS), len(ROWS) - len(values)), name
        low, high = (
            from_bytes(kind, bytes.fromhex(by_id(bounds)[number])) for bounds in ("lower-bounds", "upper-bounds")
        )
        smallest, greatest = internal(min(values)), internal(max(values))
        if name in ("s", "bin"):  # cut to 16 characters or bytes: still below and above all values
            assert (low <= smallest, low[:15], high >= greatest) == (True, smallest[:15], True), name
        else:
            assert (low, high) == (smallest, greatest), name
    assert file["split-offsets"] == [4]
    assert len(by_id("column-sizes")) == len(KINDS) + 2


def test_the_parquet_has_the_tables_field_ids_and_all_values(
    table: Table, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    (file,) = facts(TableFiles(table, store, pool).write(arrow(ROWS)))
    back = content(file)
    assert back.to_pylist() == arrow(ROWS).to_pylist()
    ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in back.schema}
    assert ids == {field.name: field.field_id for field in table.schema().fields}
    with pq.ParquetFile(file["file-path"].removeprefix("file://")) as parquet:
        kinds = {parquet.schema.column(n).name: parquet.schema.column(n).physical_type for n in range(len(KINDS))}
    assert [kinds[name] for name in ("small", "mid", "large")] == ["INT32", "INT64", "FIXED_LEN_BYTE_ARRAY"]
    items, days = back.schema.field("list").type.value_field, back.schema.field("o").type.field(0)
    inner = [table.schema().find_field(name).field_id for name in ("list.element", "o.d")]
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in (items, days)] == inner


def test_columns_are_found_by_name_and_a_missing_one_is_null(
    table: Table, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    rows = pa.table({"n": pa.array([1, 2], pa.int32()), "s": ["a", "b"]})
    (file,) = facts(TableFiles(table, store, pool).write(rows))
    assert [(r["s"], r["n"], r["d"], r["o"]) for r in content(file).to_pylist()] == [
        ("a", 1, None, None),
        ("b", 2, None, None),
    ]


def test_no_rows_are_no_file(table: Table, store: PyFileSystem, pool: ThreadPoolExecutor) -> None:
    files = TableFiles(table, store, pool)
    assert files.write(arrow([])) == Staged()
    assert files.delete([]) == Staged()


def test_bounds_that_cannot_be_cut_upwards_are_left_out(
    table: Table, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    rows = arrow([{"s": "\U0010ffff" * 20, "bin": b"\xff" * 20_000}])
    (file,) = facts(TableFiles(table, store, pool).write(rows))
    assert not {1, 12} & set(file["upper-bounds"]["keys"])


def test_a_partition_whose_name_no_store_takes_has_no_folder(
    catalog: SqlCatalog, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    table = create(catalog, "long", ("s", "identity"))
    values = ["x" * 3_000, "y" * 300, "日" * 80, "short", ".."]
    found = {
        file["partition"][0]: file
        for file in facts(TableFiles(table, store, pool).write(arrow([{"s": v} for v in values])))
    }
    assert set(found) == set(values)
    for value, file in found.items():
        assert content(file).column("s").to_pylist() == [value]
        path = file["file-path"].removeprefix(table.location())
        assert max(map(len, path.split("/"))) <= LONGEST_NAME
        assert ("s=short" in path) == (value == "short")


def test_many_long_names_are_too_long_together(
    catalog: SqlCatalog, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    table = create(catalog, "longer", *(("s", f"truncate[{n}]") for n in (190, 180, 170, 160)))
    (file,) = facts(TableFiles(table, store, pool).write(arrow([{"s": "x" * 190}])))
    assert file["partition"] == ["x" * n for n in (190, 180, 170, 160)]
    assert len(file["file-path"].removeprefix(table.location())) < 100


def test_deletes_are_sorted_and_lie_in_the_partition_of_what_they_delete(
    table: Table, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    at = [
        Position("b", 1, 0, ("2026-01-01",)),
        Position("a", 9, 0, ("2026-01-01",)),
        Position("a", 2, 0, ("2026-01-01",)),
        Position("c", 0, 1, (None,)),
    ]
    staged = TableFiles(table, store, pool).delete(at)
    assert staged.into == {"a", "b", "c"}
    assert staged.rows == 0
    first, second = (json.loads(file) for file in staged.deletes)
    assert (first["content"], first["spec-id"], first["partition"], first["record-count"]) == (
        "position-deletes",
        0,
        ["2026-01-01"],
        3,
    )
    assert (second["spec-id"], second["partition"]) == (1, [None])
    back = content(first)
    assert [tuple(row.values()) for row in back.to_pylist()] == [("a", 2), ("a", 9), ("b", 1)]
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in back.schema] == [2147483546, 2147483545]


KEYS: dict[str, list[Any]] = {
    "s": ["é/a b", "", "none"], "i": [7, 0, 99], "n": [2**40, -1, 99], "t": [ROWS[0]["t"], ROWS[2]["t"], moment(2000, 1, 1)],
    "d": [date(2026, 1, 2), date.min, date(2000, 1, 1)], "b": [True], "x": [1e300, -0.1, 7.0], "f": [0.5, 7.0],
    "small": [Decimal("1.50"), Decimal("7.00")], "large": [ROWS[0]["large"], Decimal("7.0000000000")],
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_rows_are_found_again_by_keys_of_each_type(
    catalog: SqlCatalog, store: PyFileSystem, pool: ThreadPoolExecutor, name: str
) -> None:
    # A partition by the key itself: its files are in folders that bear its name.
    table = create(catalog, f"held_{name}", *([(name, "identity")] if name in "sindtb" else []))
    table.append(arrow(ROWS[:3]).cast(table.schema().as_arrow()))
    table.append(arrow(ROWS[3:]).cast(table.schema().as_arrow()))
    wanted = {(key,) for key in KEYS[name]}
    found = Held(catalog, f"silver.held_{name}", store, (name,), ["n"]).rows(wanted)
    expected = sorted(((row[name],), (row.get("n"),)) for row in ROWS if (row.get(name),) in wanted)
    assert sorted((key, rank) for key, rank, _ in found.found) == expected
    for key, _, position in found.found:
        back = pq.read_table(position.file.removeprefix("file://"), partitioning=None)
        assert back.column(name)[position.row].as_py() == key[0]


def test_a_key_of_two_columns_is_both_of_them(catalog: SqlCatalog, store: PyFileSystem) -> None:
    table = create(catalog, "pairs")
    table.append(arrow(ROWS).cast(table.schema().as_arrow()))
    held = Held(catalog, "silver.pairs", store, ("i", "d"), ["n"])
    wanted = {(7, date(2026, 1, 2)), (0, date(2026, 1, 2)), (-7, date.min)}
    assert [key for key, _, _ in held.rows(wanted).found] == [(7, date(2026, 1, 2))] * 2


def test_a_rank_that_is_younger_than_the_file_is_null(catalog: SqlCatalog, store: PyFileSystem) -> None:
    table = create(catalog, "younger")
    table.append(arrow(ROWS[:1]).cast(table.schema().as_arrow()))
    with table.update_schema() as update:
        update.add_column("happened", TimestamptzType())
    held = Held(catalog, "silver.younger", store, ("s",), ["happened", "n"])
    assert [(key, rank) for key, rank, _ in held.rows({("é/a b",)}).found] == [(("é/a b",), (None, 2**40))]
    assert [keys.to_pylist() for keys in held.all_keys()] == [[{"s": "é/a b"}]]


def test_a_table_without_rows_holds_nothing(catalog: SqlCatalog, store: PyFileSystem) -> None:
    create(catalog, "empty")
    found = Held(catalog, "silver.empty", store, ("s",), ["n"]).rows({("a",)})
    assert (found.found, found.snapshot) == ((), None)


def looked_up(held: Held, *keys: str) -> list[tuple[Any, ...]]:
    """(key, rank, file, row) of those that are found."""
    found = held.rows({(key,) for key in keys}).found
    return sorted((key[0], rank[0], at.file, at.row) for key, rank, at in found)


def appended(table: Table, rows: list[dict[str, Any]]) -> tuple[Kept, int]:
    """Rows of the table in a file of their own, as its writer would have kept them, and the snapshot that has them."""
    known = {task.file.file_path for task in table.scan().plan_files()}
    table.append(arrow(rows).cast(table.schema().as_arrow()))
    (task,) = (task for task in table.scan().plan_files() if task.file.file_path not in known)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return Kept(task.file.file_path, 0, (), arrow(rows).select(["s", "n"])), snapshot.snapshot_id


def test_what_the_writer_commits_is_known_as_if_it_were_read(catalog: SqlCatalog, store: PyFileSystem) -> None:
    table = create(catalog, "known")
    held = Held(catalog, "silver.known", store, ("s",), ["n"])
    assert looked_up(held, "a", "b") == []
    parent = None
    for number in range(3):
        kept, snapshot = appended(table, [{"s": "a", "n": number}, {"s": "b", "n": number}])
        held.committed([kept], [], snapshot, parent)
        parent = snapshot
        read = Held(catalog, "silver.known", store, ("s",), ["n"])
        assert looked_up(held, "a", "b", "c") == looked_up(read, "a", "b", "c")
        assert held.rows({("a",)}).snapshot == snapshot
    assert sum(map(len, held.all_keys())) == 6


def test_rows_that_the_writer_deletes_are_gone_whether_their_file_was_looked_at_or_not(
    catalog: SqlCatalog, store: PyFileSystem
) -> None:
    table = create(catalog, "gone")
    _, first = appended(table, [{"s": "a", "n": 1}, {"s": "b", "n": 1}])
    held = Held(catalog, "silver.gone", store, ("s",), ["n"])
    old = {key: at for (key,), _, at in held.rows({("a",), ("b",)}).found}
    kept, second = appended(table, [{"s": "a", "n": 2}])
    held.committed([kept], [old["a"]], second, first)
    assert [(key, rank) for key, rank, _, _ in looked_up(held, "a", "b")] == [("a", 2), ("b", 1)]
    unseen, third = appended(table, [{"s": "c", "n": 3}, {"s": "d", "n": 3}])
    held.committed([unseen], [old["b"]], third, second)
    last, fourth = appended(table, [{"s": "c", "n": 4}])
    held.committed([last], [Position(unseen.file, 0, 0, ())], fourth, third)
    assert [(key, rank) for key, rank, _, _ in looked_up(held, "a", "b", "c", "d")] == [("a", 2), ("c", 4), ("d", 3)]


def test_a_commit_of_somebody_else_is_seen_by_the_next_look_up(catalog: SqlCatalog, store: PyFileSystem) -> None:
    table = create(catalog, "other")
    appended(table, [{"s": "a", "n": 1}])
    held = Held(catalog, "silver.other", store, ("s",), ["n"])
    assert len(looked_up(held, "a")) == 1
    _, between = appended(table, [{"s": "a", "n": 2}])
    assert len(looked_up(held, "a")) == 1  # behind: the fence refuses what would be wrong
    kept, after = appended(table, [{"s": "a", "n": 3}])
    held.committed([kept], [], after, between)
    assert [rank for _, rank, _, _ in looked_up(held, "a")] == [1, 2, 3]
    appended(table, [{"s": "a", "n": 4}])
    held.forget()
    assert [rank for _, rank, _, _ in looked_up(held, "a")] == [1, 2, 3, 4]


def test_keys_of_files_that_are_not_at_hand_are_read(
    catalog: SqlCatalog, store: PyFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_jobs.held.CACHE_BYTES", 0)
    table = create(catalog, "cold")
    held = Held(catalog, "silver.cold", store, ("s",), ["n"])
    assert looked_up(held, "a") == []
    kept, snapshot = appended(table, [{"s": "a", "n": 1}, {"s": "b", "n": 1}])
    held.committed([kept], [], snapshot, None)
    assert [rank for _, rank, _, _ in looked_up(held, "a")] == [1]
    assert looked_up(held, "z") == []


def test_numbers_are_never_lost_in_partitions_of_many_rows(
    catalog: SqlCatalog, store: PyFileSystem, pool: ThreadPoolExecutor
) -> None:
    table = create(catalog, "many", ("i", "identity"))
    numbers = np.random.default_rng(7).integers(0, 5, 2_000)
    rows = pa.table({"i": pa.array(numbers, pa.int32()), "n": pa.array(range(2_000), pa.int64())})
    chunks = pa.concat_tables([rows[:700], rows[700:]])
    back = [content(file).select(["i", "n"]) for file in facts(TableFiles(table, store, pool).write(chunks))]
    assert sorted((r["n"], r["i"]) for part in back for r in part.to_pylist()) == list(enumerate(numbers.tolist()))
