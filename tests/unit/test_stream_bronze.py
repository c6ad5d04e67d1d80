"""Bronze is read back a few files at a time, on a table in a folder of this test's own."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from catalog import tables
from catalog.names import BRONZE
from catalog.progress import Span
from stream_jobs import bronze
from tests.batches import NOON, column, stream


@pytest.mark.parametrize("ahead", [1, 7, 1_000])
def test_ids_and_rows_are_complete_however_many_files_are_read_at_once(
    ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bronze, "READ_AHEAD", ahead)
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace(BRONZE)
    table = catalog.create_table("bronze.s", tables.schema(BRONZE, stream(column("a"))))
    for start in range(0, 30, 5):
        rows = [
            {"event_id": f"id-{n}", "received_at": NOON, "topic": "s", "partition": n % 2, "offset": n // 2}
            for n in range(start, start + 5)
        ]
        table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    found = bronze.Bronze(catalog, "bronze.s")
    ids = [one for batch in found.ids({0: 15, 1: 10}, date(2026, 1, 1)) for one in batch.column("event_id").to_pylist()]
    assert sorted(ids) == sorted(f"id-{n}" for n in range(30) if n % 2 == 0 or n // 2 < 10)
    rows = found.rows([Span(0, 3, 6), Span(1, 0, 2)]).select(["partition", "offset"]).to_pylist()
    assert [(row["partition"], row["offset"]) for row in rows] == [(0, 3), (0, 4), (0, 5), (1, 0), (1, 1)]
    assert found.newest({0: 3, 1: 0}) == NOON
    assert sum(map(len, found.look_up(["id-3", "id-29", "none"], NOON))) == 2
