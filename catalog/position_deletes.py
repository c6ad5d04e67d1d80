"""Position delete files: which rows of which data files are dead."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.fs import FileSystem

from catalog import parquet

Positions = NDArray[np.int64]
NONE: Positions = np.empty(0, dtype=np.int64)
# Column ids that Iceberg's specification reserves for position delete files.
PATH_ID, POSITION_ID = 2147483546, 2147483545
SCHEMA = pa.schema(
    [
        pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": str(PATH_ID)}),
        pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": str(POSITION_ID)}),
    ]
)


def read_rows(files: FileSystem, path: str) -> pa.Table:
    """file_path (a dictionary) and pos of one delete file, which hold little more than the file does."""
    with parquet.opened(files, path, pre_buffer=True, read_dictionary=["file_path"]) as file:
        return file.read(columns=["file_path", "pos"], use_threads=False)


def read(files: FileSystem, path: str) -> dict[str, Positions]:
    """The positions that one delete file names, by data file, in order."""
    return by_file(read_rows(files, path))


def by_file(rows: pa.Table) -> dict[str, Positions]:
    """`rows`: file_path and pos."""
    column = rows.unify_dictionaries().column("file_path").combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # combining no chunks leaves it as it is
        return {}
    encoded = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    paths, places = encoded.indices.to_numpy(zero_copy_only=False), rows.column("pos").to_numpy()
    order = np.lexsort((places, paths))
    ends = np.flatnonzero(np.diff(paths[order])) + 1
    names = encoded.dictionary.to_pylist()
    return {
        names[paths[part[0]]]: places[part] for part in np.split(order, ends) if len(part)
    }  # fmt: skip


def merged(parts: list[pa.Table]) -> dict[str, Positions]:
    """All positions of several delete files, by data file, in order, each once. `parts`: file_path and pos."""
    if not parts:
        return {}
    return {
        path: np.unique(found) for path, found in by_file(pa.concat_tables(parts, promote_options="default")).items()
    }


def rows_of(positions: Mapping[str, Positions]) -> pa.Table:
    """The rows of a delete file, in the order that the specification asks for."""
    paths = sorted(positions)
    names = [
        pa.array([path], pa.string()).take(pa.array(np.zeros(len(positions[path]), dtype=np.int64))) for path in paths
    ]
    places = [pa.array(positions[path]) for path in paths]
    return pa.table([pa.chunked_array(names, pa.string()), pa.chunked_array(places, pa.int64())], schema=SCHEMA)
