"""Several data files → one, a batch of rows at a time: memory is bounded by a row group, not by a file."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from catalog import parquet
from catalog.data_files import FileForm
from catalog.maintenance.compaction import File, Group
from catalog.position_deletes import NONE, Positions

ROWS_AT_A_TIME = 16_384
# A row group's rows and bytes: small enough to be held, large enough to be compressed and skipped well.
GROUP_ROWS, GROUP_BYTES = 131_072, 32 * 1024 * 1024


class FormError(Exception):
    """A file has a form that can't be brought into the table's by a simple cast: an engine has to rewrite it."""


@dataclass(frozen=True)
class Moved:
    """Where the rows of one source file are in the new file: from `first` on, without the `dead` ones."""

    first: int
    dead: Positions

    def places(self, positions: Positions) -> Positions:
        """The new positions of those that live."""
        living = np.setdiff1d(positions, self.dead, assume_unique=True)
        return self.first + living - np.searchsorted(self.dead, living)


@dataclass(frozen=True)
class Merged:
    """The new file (None: no row is left), and where each source's rows went in it."""

    path: str | None
    described: str | None
    size: int
    rows: int
    moved: Mapping[str, Moved]


def merge(files: FileSystem, form: FileForm, group: Group, dead: Mapping[str, Positions]) -> Merged:
    """Write the rows that live, in the order of their commits. Raises FormError."""
    sources = sorted(group.files, key=lambda file: (file.sequence, file.path))
    moved, rows = {}, 0
    for file in sources:
        moved[file.path] = Moved(rows, dead.get(file.path, NONE))
        rows += file.rows - len(moved[file.path].dead)
    if not rows:
        return Merged(None, None, 0, 0, moved)
    path = f"{posixpath.dirname(sources[0].path)}/{uuid4()}.parquet"
    size, footer = _write(files, form, path, _living(files, form, sources, moved))
    if footer.num_rows != rows:
        raise FormError(f"{path} got {footer.num_rows} rows where {rows} live")
    return Merged(path, form.described(path, *group.place, size, footer), size, rows, moved)


def _write(
    files: FileSystem, form: FileForm, path: str, batches: Iterator[pa.RecordBatch]
) -> tuple[int, pq.FileMetaData]:
    with files.open_output_stream(path.split("://", 1)[1]) as out:
        with form.writer(out, form.arrow) as writer:
            held: list[pa.RecordBatch] = []
            for batch in batches:
                held.append(batch)
                if sum(map(len, held)) >= GROUP_ROWS or sum(part.nbytes for part in held) >= GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(held))
                    held = []
            if held:
                writer.write_table(pa.Table.from_batches(held))
        return out.tell(), writer.writer.metadata


def _living(
    files: FileSystem, form: FileForm, sources: Sequence[File], moved: Mapping[str, Moved]
) -> Iterator[pa.RecordBatch]:
    for source in sources:
        dead, first = moved[source.path].dead, 0
        with parquet.opened(files, source.path, pre_buffer=False) as file:
            if file.metadata.num_rows != source.rows:
                raise FormError(
                    f"{source.path} has {file.metadata.num_rows} rows where its manifest says {source.rows}"
                )
            # One thread: this work is to disturb nobody.
            for batch in file.iter_batches(ROWS_AT_A_TIME, use_threads=False):
                mine = dead[np.searchsorted(dead, first) : np.searchsorted(dead, first + len(batch))] - first
                first += len(batch)
                if len(mine):
                    alive = np.ones(len(batch), dtype=np.bool_)
                    alive[mine] = False
                    batch = batch.filter(pa.array(alive))
                if len(batch):
                    yield _fitted(batch, form.arrow)


def _fitted(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """The columns of the table, found by their ids: one that is younger than the file is null, one that was widened is cast."""
    places = {_id(field): place for place, field in enumerate(batch.schema)}
    if None in places:
        raise FormError("its columns have no ids")
    return pa.RecordBatch.from_arrays([_column(batch, places, field) for field in wanted], schema=wanted)


def _column(batch: pa.RecordBatch, places: Mapping[bytes | None, int], field: pa.Field) -> pa.Array:
    place = places.get(_id(field))
    if place is None:
        return pa.nulls(len(batch), field.type)
    if pa.types.is_nested(field.type) and _ids(batch.schema.field(place)) != _ids(field):
        raise FormError(f"the members of {field.name} have changed since")
    column = batch.column(place)
    return column if column.type == field.type else column.cast(field.type)


def _id(field: pa.Field) -> bytes | None:
    return (field.metadata or {}).get(b"PARQUET:field_id")


def _ids(field: pa.Field) -> list[object]:
    """The ids of a field and of all within it, with their shape."""
    kind = field.type
    inner = [kind.field(place) for place in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    if pa.types.is_map(kind):
        inner = [kind.key_field, kind.item_field]
    return [_id(field), *(_ids(child) for child in inner)]
