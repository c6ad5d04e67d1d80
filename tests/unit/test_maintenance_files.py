"""Files are merged, and orphans found, on a table in a folder of this test's own."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import IntegerType, LongType, NestedField, StringType, StructType

from catalog import position_deletes
from catalog.data_files import FileForm
from catalog.maintenance import deletes, inventory, orphans
from catalog.maintenance.compaction import File, Group
from catalog.maintenance.deletes import DeadRows
from catalog.maintenance.inventory import Inventories, history
from catalog.maintenance.rewrite import FormError, merge
from catalog.names import P_OFFSETS

FILES = LocalFileSystem()
INNER = StructType(NestedField(4, "unit", StringType()))
SCHEMA = Schema(
    NestedField(1, "n", IntegerType()), NestedField(2, "name", StringType()), NestedField(3, "inner", INNER)
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("bronze")
    return catalog.create_table("bronze.t", SCHEMA, properties={"format-version": "2"})


def add(table: Table, numbers: Iterable[int], **more: Any) -> None:
    rows = [{"n": n, "name": f"row {n}", "inner": {"unit": "kg"}, **more} for n in numbers]
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))


def group(table: Table) -> Group:
    found = Inventories().of(table)
    return Group((0, ()), found.data, found.deletes)


def read(path: str | None) -> list[dict[str, Any]]:
    assert path is not None
    return pq.ParquetFile(path.split("://")[1]).read().to_pylist()


def test_living_rows_are_merged_in_the_order_of_their_commits(table: Table) -> None:
    for start in (0, 10, 20):
        add(table, range(start, start + 10))
    chosen = group(table)
    first, second, third = sorted(chosen.files, key=lambda file: file.sequence)
    merged = merge(FILES, FileForm(table), chosen, {first.path: np.array([0, 9]), third.path: np.arange(10)})
    assert [row["n"] for row in read(merged.path)] == [*range(1, 9), *range(10, 20)]
    assert merged.rows == 18
    assert merged.moved[second.path].places(np.array([3])).tolist() == [11]


def test_no_file_is_written_for_rows_that_are_all_dead(table: Table) -> None:
    add(table, range(10))
    chosen = group(table)
    merged = merge(FILES, FileForm(table), chosen, {chosen.files[0].path: np.arange(10)})
    assert (merged.path, merged.rows) == (None, 0)


def test_older_files_get_the_columns_that_came_later_and_the_wider_types(table: Table) -> None:
    add(table, range(5))
    with table.update_schema() as update:
        update.add_column("added", StringType())
        update.update_column("n", field_type=LongType())
        update.rename_column("name", "title")
    rows = [{"n": 2**40, "title": "new", "inner": {"unit": "g"}, "added": "x"}]
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    merged = merge(FILES, FileForm(table), group(table), {})
    found = read(merged.path)
    assert [row["n"] for row in found] == [0, 1, 2, 3, 4, 2**40]
    assert [row["title"] for row in found][-2:] == ["row 4", "new"]
    assert [row["added"] for row in found][-2:] == [None, "x"]


def test_a_file_whose_members_changed_is_left_to_an_engine(table: Table) -> None:
    add(table, range(5))
    with table.update_schema() as update:
        update.add_column(("inner", "more"), StringType())
    with pytest.raises(FormError, match="members of inner"):
        merge(FILES, FileForm(table), group(table), {})


def test_a_manifest_that_lies_about_rows_stops_the_merge(table: Table) -> None:
    add(table, range(5))
    chosen = group(table)
    pq.write_table(pa.table({"n": [1]}), chosen.files[0].path.split("://")[1])
    with pytest.raises(FormError, match="has 1 rows where its manifest says 5"):
        merge(FILES, FileForm(table), chosen, {})


def test_delete_files_say_again_what_was_written(table: Table) -> None:
    dead = {"s3://b/x.parquet": np.array([1, 5, 9]), "s3://b/a.parquet": np.array([0])}
    path = f"{table.location()}/data/d.parquet"
    Path(path.split("://")[1]).parent.mkdir(exist_ok=True)
    described, size = FileForm(table).write_deletes(FILES, path, 0, (), dead)
    again = position_deletes.read(FILES, path)
    assert {name: rows.tolist() for name, rows in again.items()} == {name: rows.tolist() for name, rows in dead.items()}
    assert b"s3://b/a.parquet".hex().upper() in described
    assert size == Path(path.split("://")[1]).stat().st_size
    more = pa.table({"file_path": pa.array(["s3://b/a.parquet"] * 2).dictionary_encode(), "pos": [2, 0]})
    both = position_deletes.merged([position_deletes.read_rows(FILES, path), more])
    assert {name: rows.tolist() for name, rows in both.items()} == {
        "s3://b/x.parquet": [1, 5, 9],
        "s3://b/a.parquet": [0, 2],
    }


def test_what_is_remembered_of_files_is_bounded(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many delete files that each name many data files, and manifests that list them all, are what an hour of updates leaves."""
    written = []
    for number in range(3):
        dead = {f"s3://b/{name}.parquet": np.array([number]) for name in range(200)}
        path = f"{table.location()}/data/d{number}.parquet"
        Path(path.split("://")[1]).parent.mkdir(exist_ok=True)
        _, size = FileForm(table).write_deletes(FILES, path, 0, (), dead)
        written.append(File(path, 0, (), size, 200, number))
    rows = DeadRows(FILES)
    wanted = rows.of(written)
    assert len(wanted) == 200
    assert all(found.tolist() == [0, 1, 2] for found in wanted.values())
    assert rows.remembered.held < 3 * 40_000, "little more than the names themselves"
    monkeypatch.setattr(deletes, "MOST", 1)
    few = DeadRows(FILES)
    assert few.of(written).keys() == wanted.keys()
    assert few.remembered.held < 40_000, "the last one alone"

    for start in (0, 10, 20):
        add(table, range(start, start + 10))
    all_files = Inventories().of(table)
    monkeypatch.setattr(inventory, "FILES", 1)
    one = Inventories()
    assert one.of(table) == all_files
    assert one.remembered.held == 2, "one manifest and its file"


def test_orphans_are_old_files_that_no_snapshot_knows(table: Table, tmp_path: Path) -> None:
    for start in (0, 10):
        add(table, range(start, start + 10))
    folder = Path(table.location().split("://")[1])
    before = {path for path in folder.rglob("*") if path.is_file()}
    lost = folder / "data" / "day=1" / "lost.parquet"
    lost.parent.mkdir()
    lost.write_bytes(b"x" * 7)
    (folder / "metadata" / "lost.avro").write_bytes(b"y")
    tomorrow = datetime.now(UTC) + timedelta(hours=23)
    young = orphans.listed(FILES, table.location(), timedelta(hours=24), tomorrow)
    assert orphans.orphans(table, Inventories(), young.old) == {}, "a commit may be about to name it"
    old = orphans.listed(FILES, table.location(), timedelta(hours=24), tomorrow + timedelta(hours=2))
    found = orphans.orphans(table, Inventories(), old.old)
    assert sorted(found.values()) == [1, 7]
    assert old.files == len(before) + 2
    orphans.remove(FILES, [*found, f"{table.location()}/data/gone-already.parquet"])
    assert {path for path in folder.rglob("*") if path.is_file()} == before
    assert table.scan().to_arrow().num_rows == 20


def test_the_history_says_which_snapshots_carry_offsets(table: Table) -> None:
    rows = pa.Table.from_pylist([{"n": 1}], schema=table.schema().as_arrow())
    table.append(rows, snapshot_properties={P_OFFSETS: "{}"})
    add(table, [2])
    assert [commit.has_offsets for commit in history(table)] == [False, True]
    found = Inventories().of(table)
    assert (len(found.data), found.most_in_partition(2**60), found.most_in_partition(1)) == (2, 2, 0)
