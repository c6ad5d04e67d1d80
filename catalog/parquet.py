"""Parquet files on the object store, opened to be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

# Bytes up to which a file is fetched as a whole.
WHOLE = 2 * 1024 * 1024


@contextmanager
def opened(files: FileSystem, path: str, **options: Any) -> Iterator[pq.ParquetFile]:
    """A file, for the block. `options` are those of `ParquetFile`.

    A small one is one call to the object store, not one for each column of each row group: a file of some seconds has a
    dozen columns and a few kilobytes, and a table has many such files.
    """
    with files.open_input_file(path.split("://", 1)[1]) as source:
        size = source.size()
        origin = pa.BufferReader(source.read_buffer(size)) if size <= WHOLE else source
        with pq.ParquetFile(origin, **options) as file:
            yield file
