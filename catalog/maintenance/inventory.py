"""What a table consists of: its live files, its history, the files of its metadata."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyiceberg.manifest import DataFileContent, FileFormat, ManifestEntry, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from catalog import names
from catalog.data_files import partition_values
from catalog.maintenance.compaction import File, by_place
from catalog.maintenance.expiry import Commit
from catalog.remembered import Remembered

# Files of manifests that are remembered, about half a kilobyte each: manifests never change, and a look at a table finds few new
# ones. They are counted by their files, for each merge of a large table's manifests lists them all anew.
FILES = 100_000
# Data and delete files.
Listed = tuple[tuple[File, ...], tuple[File, ...]]


@dataclass(frozen=True)
class Inventory:
    """The live files of one snapshot (None: the table is empty)."""

    snapshot_id: int | None
    data: tuple[File, ...] = ()
    deletes: tuple[File, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all data and delete files."""
        return sum(file.size for file in (*self.data, *self.deletes))

    def most_in_partition(self, before: int) -> int:
        """The most data files of one partition, of those that were added before this moment (milliseconds)."""
        old = (file for file in self.data if file.at < before)
        return max((len(files) for files in by_place(old).values()), default=0)


class Inventories:
    """Takes inventories, and remembers the manifests that it has read."""

    def __init__(self) -> None:
        self.remembered = Remembered[Listed](FILES, lambda found: 1 + sum(map(len, found)))

    def of(self, table: Table) -> Inventory:
        """Raises ValueError where a table has equality deletes, which nothing here understands."""
        snapshot = table.current_snapshot()
        if snapshot is None:
            return Inventory(None)
        times = {known.snapshot_id: known.timestamp_ms for known in table.snapshots()}
        parts = [self._manifest(table, manifest, times) for manifest in snapshot.manifests(table.io)]
        data = tuple(file for files, _ in parts for file in files)
        deletes = tuple(file for _, files in parts for file in files)
        return Inventory(snapshot.snapshot_id, data, deletes)

    def paths(self, table: Table, manifest: ManifestFile) -> Iterator[str]:
        """The files that one manifest lists as live."""
        for files in self._manifest(table, manifest, {}):
            yield from (file.path for file in files)

    def _manifest(self, table: Table, manifest: ManifestFile, times: dict[int, int]) -> Listed:
        return self.remembered.get(manifest.manifest_path, lambda: _listed(table, manifest, times))


def _listed(table: Table, manifest: ManifestFile, times: dict[int, int]) -> Listed:
    files: dict[DataFileContent, list[File]] = {content: [] for content in DataFileContent}
    for entry in manifest.fetch_manifest_entry(table.io):
        files[entry.data_file.content].append(_file(table, entry, times))
    if files[DataFileContent.EQUALITY_DELETES]:
        raise ValueError("it has equality deletes, which only an engine that understands them can merge")
    return tuple(files[DataFileContent.DATA]), tuple(files[DataFileContent.POSITION_DELETES])


def _file(table: Table, entry: ManifestEntry, times: dict[int, int]) -> File:
    file = entry.data_file
    return File(
        path=file.file_path,
        spec_id=file.spec_id,
        partition=partition_values(table.specs()[file.spec_id], table.schema(), file.partition),
        size=file.file_size_in_bytes,
        rows=file.record_count,
        sequence=entry.sequence_number or 0,
        at=times.get(entry.snapshot_id or 0, 0),
        parquet=file.file_format == FileFormat.PARQUET,
    )


def history(table: Table) -> list[Commit]:
    """The current snapshot and its ancestors, newest first."""
    return [Commit(found.timestamp_ms, _has_offsets(found)) for found in _ancestors(table)]


def _ancestors(table: Table) -> Iterator[Snapshot]:
    by_id = {known.snapshot_id: known for known in table.snapshots()}
    found = table.current_snapshot()
    while found is not None:
        yield found
        found = by_id.get(found.parent_snapshot_id) if found.parent_snapshot_id is not None else None


def _has_offsets(snapshot: Snapshot) -> bool:
    return snapshot.summary is not None and names.P_OFFSETS in snapshot.summary.additional_properties
