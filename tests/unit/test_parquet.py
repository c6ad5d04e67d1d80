"""Parquet files, opened to be read: fetched whole where they are small."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem

from catalog import parquet

ROWS = pa.table({"id": range(50_000), "name": [f"row {n}" for n in range(50_000)]})


class Store:
    """Local files that count what is asked of them."""

    def __init__(self) -> None:
        self.reads = 0

    def open_input_file(self, path: str) -> Any:
        source = LocalFileSystem().open_input_file(path)
        store = self

        class Counted:
            closed = False

            def __enter__(self) -> "Counted":
                return self

            def __exit__(self, *_: object) -> None:
                source.close()

            def __getattr__(self, name: str) -> Any:
                store.reads += name in ("read", "read_buffer", "readinto")
                return getattr(source, name)

        return Counted()


@pytest.mark.parametrize(("largest", "fewest", "most"), [(parquet.WHOLE, 1, 1), (1_000, 3, 100)])
def test_a_small_file_is_one_read_and_a_large_one_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int, fewest: int, most: int
) -> None:
    path = tmp_path / "some.parquet"
    pq.write_table(ROWS, path, row_group_size=10_000)
    assert 1_000 < path.stat().st_size < parquet.WHOLE
    monkeypatch.setattr(parquet, "WHOLE", largest)
    store: Any = Store()
    with parquet.opened(store, f"s3://{path}") as file:
        assert file.read() == ROWS
    assert fewest <= store.reads <= most
