"""The tables of `ops`, on a catalog and a folder of this test's own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from catalog import ops_tables
from catalog.ops_tables import LEDGER, LOSSES, MAINTENANCE


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    """A catalog in a file."""
    return SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")


def test_rows_are_appended_and_what_is_recent_is_found(catalog: SqlCatalog) -> None:
    now = datetime.now(UTC)
    loss = {"stream": "orders", "partition": 0, "from_offset": 3, "to_offset": 9, "reason": "retention", "by": "ann"}
    ops_tables.append(catalog, LOSSES, [{"at": now, **loss}, {"at": now - timedelta(days=40), **loss}])
    ops_tables.append(catalog, LOSSES, [{"at": now, "stream": "late"}])
    found = ops_tables.recent(catalog, LOSSES, timedelta(days=1)).to_pylist()
    assert sorted(row["stream"] for row in found) == ["late", "orders"]
    assert {name: row[name] for row in found if row["stream"] == "orders" for name in loss} == loss


def test_nothing_is_recent_in_a_table_that_is_not_there(catalog: SqlCatalog) -> None:
    assert ops_tables.recent(catalog, LEDGER, timedelta(days=1)).num_rows == 0


def test_no_rows_make_no_table(catalog: SqlCatalog) -> None:
    ops_tables.append(catalog, MAINTENANCE, [])
    assert not catalog.table_exists(MAINTENANCE)


def test_a_column_that_is_lacking_is_added(catalog: SqlCatalog) -> None:
    ops_tables.append(catalog, LEDGER, [{"checked_at": datetime.now(UTC), "stream": "orders"}])
    with catalog.load_table(LEDGER).update_schema() as update:
        update.delete_column("mode")
    ops_tables.append(catalog, LEDGER, [{"checked_at": datetime.now(UTC), "stream": "late", "mode": "deep"}])
    rows = ops_tables.recent(catalog, LEDGER, timedelta(days=1)).to_pylist()
    assert {row["stream"]: row["mode"] for row in rows} == {"orders": None, "late": "deep"}


def test_two_who_append_at_once_both_succeed(catalog: SqlCatalog) -> None:
    row = {"at": datetime.now(UTC), "table": "silver.orders", "action": "compact"}
    ops_tables.ops_table(catalog, MAINTENANCE)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: ops_tables.append(catalog, MAINTENANCE, [{**row, "files_before": n}]), range(8)))
    rows = ops_tables.recent(catalog, MAINTENANCE, timedelta(days=1)).to_pylist()
    assert sorted(row["files_before"] for row in rows) == list(range(8))
