"""Which metadata file is a table's newest, on a catalog and a folder of this test's own."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow.fs import LocalFileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update import AssertTableUUID

from catalog import names
from catalog.errors import SluiceError
from catalog.recovery import metadata_files
from catalog.recovery.backup import load
from catalog.recovery.leftovers import refuse_leftovers
from catalog.recovery.metadata_files import Newest
from catalog.settings import LakeSettings, read_settings
from catalog.tables import PROPERTIES

ROWS = pa.table({"n": pa.array([1, 2, 3], pa.int64())})
FILES = LocalFileSystem()
KEPT = """{{"format": {form}, "made_at": "", "catalog_name": "lake", "warehouse": "{warehouse}",
"pointers": [], "properties": {{}}}}"""
OTHER_NAME = "0fffffff-0000-4000-8000-000000000000"


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    """A catalog in a file."""
    made = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    made.create_namespace("bronze")
    return made


@pytest.fixture
def table(catalog: SqlCatalog) -> Table:
    """One with five commits, each further on in Kafka."""
    made = catalog.create_table("bronze.orders", ROWS.schema, properties=PROPERTIES)
    for end in range(3, 18, 3):
        made.append(ROWS, {names.P_OFFSETS: json.dumps({"0": end})})
    return made


def found(table: Table, uuid: str | None = None) -> Newest:
    newest = metadata_files.newest(FILES, {}, table.location(), uuid)
    assert newest is not None
    return newest


def current(catalog: SqlCatalog) -> Table:
    return catalog.load_table("bronze.orders")


def loses(catalog: SqlCatalog, stale: Table, offset: int) -> str:
    """A commit on a state that is no longer the newest one: its metadata file is written, then the compare-and-swap fails."""
    before = set(metadata_files.numbered(FILES, stale.location()))
    staged = Transaction(stale, autocommit=False)
    with staged.update_snapshot(snapshot_properties={names.P_OFFSETS: json.dumps({"0": offset})}).fast_append():
        pass
    loaded = catalog.load_table
    catalog.load_table = lambda _: stale
    try:
        with pytest.raises(CommitFailedException):
            catalog.commit_table(stale, (AssertTableUUID(uuid=stale.metadata.table_uuid),), staged._updates)
    finally:
        catalog.load_table = loaded
    (lost,) = set(metadata_files.numbered(FILES, stale.location())) - before
    document = {**metadata_files.read(FILES, lost).document}
    document["last-updated-ms"] += 3_600_000  # it was paused, and is the last one by the clock
    Path(metadata_files.without_scheme(lost)).write_text(json.dumps(document))
    return lost


def test_it_is_what_the_catalog_points_to_through_thirty_commits(catalog: SqlCatalog, table: Table) -> None:
    for end in range(18, 93, 3):
        table.append(ROWS, {names.P_OFFSETS: json.dumps({"0": end})})
        assert found(table).file.path == current(catalog).metadata_location
    assert len(metadata_files.numbered(FILES, table.location())) < 25, "older ones are deleted after commits"
    newest = found(table)
    assert (newest.file.rows, newest.file.offsets, newest.refused) == (90, {0: 90}, {})


def test_a_commit_that_came_second_is_not_taken_however_late_it_was(catalog: SqlCatalog, table: Table) -> None:
    stale = current(catalog)
    table.append(ROWS, {names.P_OFFSETS: '{"0":18}'})
    lost = loses(catalog, stale, 99)  # further in Kafka than the newest
    table.append(ROWS, {names.P_OFFSETS: '{"0":21}'})
    newest = found(table)
    assert newest.file.path == current(catalog).metadata_location
    assert newest.file.offsets == {0: 21}
    assert newest.refused == {lost: "another commit was first"}


def test_of_two_that_nothing_was_put_on_the_one_further_in_kafka_is_taken(catalog: SqlCatalog, table: Table) -> None:
    stale = current(catalog)
    table.append(ROWS, {names.P_OFFSETS: '{"0":18}'})
    lost = loses(catalog, stale, 15)  # as maintenance's, which repeats the offsets that it found
    newest = found(table)
    assert newest.file.path == current(catalog).metadata_location
    assert newest.refused == {lost: "another commit was first"}


def test_one_whose_files_are_gone_is_not_taken(catalog: SqlCatalog, table: Table) -> None:
    before = current(catalog).metadata_location
    table.append(ROWS, {names.P_OFFSETS: '{"0":18}'})
    snapshot = table.current_snapshot()
    assert snapshot is not None
    data = [entry.data_file.file_path for entry in snapshot.manifests(table.io)[0].fetch_manifest_entry(table.io)]
    Path(metadata_files.without_scheme(data[0])).unlink()
    newest = found(table)
    assert newest.file.path == before
    assert newest.refused == {current(catalog).metadata_location: f"{data[0]} is gone"}
    Path(metadata_files.without_scheme(snapshot.manifest_list)).unlink()
    assert found(table).refused == {current(catalog).metadata_location: f"{snapshot.manifest_list} is gone"}


def test_one_that_cannot_be_read_is_not_taken(table: Table) -> None:
    torn = Path(metadata_files.without_scheme(f"{table.location()}/metadata/00099-{OTHER_NAME}.gz.metadata.json"))
    torn.write_bytes(b"\x1f\x8b torn")
    newest = found(table)
    assert newest.file.path == table.metadata_location
    assert [reason.partition(" (")[0] for reason in newest.refused.values()] == ["it cannot be read"]


def test_a_table_that_was_made_anew_in_the_same_folder_is_told_apart(catalog: SqlCatalog, table: Table) -> None:
    old = table.metadata_location
    catalog.drop_table("bronze.orders")
    anew = catalog.create_table("bronze.orders", ROWS.schema, properties=PROPERTIES)
    assert found(anew).file.path == old, "an empty one that was made after a loss hides no rows"
    anew.append(ROWS)
    newest = found(anew)
    assert newest.file.path == anew.metadata_location
    assert newest.refused[old] == "it is of another table that was in this folder"
    assert found(anew, str(table.metadata.table_uuid)).file.path == old


def test_a_table_without_a_folder_has_none(tmp_path: Path) -> None:
    assert metadata_files.newest(FILES, {}, f"file://{tmp_path}/nothing") is None


def test_an_empty_table_takes_no_lost_ones_place(catalog: SqlCatalog, table: Table) -> None:
    refuse_leftovers(catalog, "bronze.orders")
    catalog.drop_table("bronze.orders")
    with pytest.raises(SluiceError, match="restore --from-bucket"):
        refuse_leftovers(catalog, "bronze.orders")
    catalog.create_table("bronze.users", ROWS.schema)
    catalog.drop_table("bronze.users")
    refuse_leftovers(catalog, "bronze.users")  # nothing was ever in it


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no backup of a catalog"),
        ("[]", "is no backup of a catalog"),
        ('{"format": 1}', "is no backup of a catalog"),
        (KEPT.format(form=7, warehouse="s3://lake/warehouse"), "format 7"),
        (KEPT.format(form=1, warehouse="s3://other/w"), "over s3://other/w"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_backup_of_this_lake_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(text)
    with pytest.raises(SluiceError, match=words):
        load(file, read_settings(LakeSettings))
    with pytest.raises(SluiceError, match="cannot be read"):
        load(tmp_path / "nothing.json", read_settings(LakeSettings))
