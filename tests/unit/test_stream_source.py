"""Whose offsets bronze's are, on a catalog and a folder of this test's own."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from catalog import names
from stream_jobs.source import OtherClusterError, claim

ROWS = pa.table({"n": pa.array([1], pa.int64())})


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    """A catalog in a file, with bronze.orders."""
    made = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    made.create_namespace("bronze")
    made.create_table("bronze.orders", ROWS.schema)
    return made


def cluster(catalog: SqlCatalog) -> str | None:
    return catalog.load_table("bronze.orders").properties.get(names.P_CLUSTER)


def test_the_first_one_is_noted_and_another_one_is_told(catalog: SqlCatalog) -> None:
    claim(catalog, "orders", "one")
    catalog.load_table("bronze.orders").append(ROWS, {names.P_OFFSETS: '{"0":1}'})
    claim(catalog, "orders", "one")
    with pytest.raises(OtherClusterError, match="cluster one, and this is cluster two"):
        claim(catalog, "orders", "two")
    assert cluster(catalog) == "one"


def test_a_table_without_offsets_goes_with_any(catalog: SqlCatalog) -> None:
    claim(catalog, "orders", "one")
    claim(catalog, "orders", "two")
    assert cluster(catalog) == "two"


def test_a_table_of_an_older_release_is_told(catalog: SqlCatalog) -> None:
    catalog.load_table("bronze.orders").append(ROWS, {names.P_OFFSETS: '{"0":1}'})
    claim(catalog, "orders", "")  # a broker that says nothing changes nothing
    assert cluster(catalog) is None
    claim(catalog, "orders", "one")
    assert cluster(catalog) == "one"
