"""Files of a table that no snapshot knows: what was written and never committed, and what an expiry was killed before it removed.

A file is an orphan only if it is older than a safe age, far beyond what any commit takes: a younger one may be about to be
committed. The folders are listed first and the metadata is read afterwards, so that a file which is committed in between is
known.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyarrow.fs import FileInfo, FileSelector, FileSystem
from pyiceberg.table import Table

from catalog.maintenance.inventory import Inventories

FOLDERS = ("data", "metadata")


@dataclass(frozen=True)
class Listed:
    """What lies in a table's folders: all of it counted, and paths and sizes of the files older than the safe age."""

    files: int
    bytes: int
    metadata_bytes: int
    old: dict[str, int]


def listed(files: FileSystem, location: str, older_than: timedelta, now: datetime | None = None) -> Listed:
    """One listing of the object store."""
    before = (now or datetime.now(UTC)) - older_than
    count = total = metadata = 0
    old: dict[str, int] = {}
    scheme, base = location.split("://", 1)
    for folder in FOLDERS:
        for file in files_under(files, f"{base}/{folder}"):
            count, total = count + 1, total + file.size
            metadata += file.size if folder == "metadata" else 0
            if file.mtime is not None and file.mtime < before:
                old[f"{scheme}://{file.path}"] = file.size
    return Listed(count, total, metadata, old)


def orphans(table: Table, inventories: Inventories, old: dict[str, int]) -> dict[str, int]:
    """Of these files those that no snapshot of the table refers to. `table` must have been loaded after they were listed."""
    if not old:
        return {}
    left = dict(old)
    for path in _known(table, inventories):
        left.pop(path, None)
    return left


def remove(files: FileSystem, paths: Iterable[str]) -> int:
    """Delete files, and say how many; one that is gone already is none."""
    removed = 0
    for path in paths:
        try:
            files.delete_file(path.split("://", 1)[1])
            removed += 1
        except FileNotFoundError:
            continue
    return removed


def _known(table: Table, inventories: Inventories) -> Iterator[str]:
    metadata = table.metadata
    yield table.metadata_location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (found.statistics_path for found in (*metadata.statistics, *metadata.partition_statistics))
    seen: set[str] = set()
    for snapshot in metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                yield from inventories.paths(table, manifest)


def files_under(files: FileSystem, folder: str) -> Iterator[FileInfo]:
    """A folder at a time, so that a table of many partitions is never held as a whole."""
    for found in files.get_file_info(FileSelector(folder, allow_not_found=True)):
        if found.is_file:
            yield found
        else:
            yield from files_under(files, found.path)
