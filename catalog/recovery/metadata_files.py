"""Which of a table's metadata files was committed last, as the bucket alone tells it.

A commit writes a file whose number is its predecessor's plus one, and then makes the catalog point to it, if the catalog still
points to the predecessor. A file that came second has the number of one that was committed, and stays where it is. So no number
is higher than the newest committed one, save that of a file whose writer ended between the two steps, which is its child:
whole, based on the state that was in force, and with rows and offsets that belong together, so it is as good as committed.
Where the highest number is there twice, no file has been put on top of either. Both are whole states of the table; the one whose
Kafka offsets are further is taken, so that no table of a stream is put behind what a later table has of it.
"""

import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pyarrow.fs import FileSelector, FileSystem
from pyiceberg.table import StaticTable

from catalog import names
from catalog.maintenance.orphans import files_under
from catalog.progress import Offsets, decode_offsets

NUMBERED = re.compile(r"(\d+)-[^/]+\.metadata\.json\Z")
GZIPPED = b"\x1f\x8b"


@dataclass(frozen=True)
class MetadataFile:
    """One metadata file of a table, with what it says."""

    path: str
    version: int
    document: Mapping[str, Any]

    @property
    def uuid(self) -> str:
        return str(self.document.get("table-uuid") or self.document.get("view-uuid"))

    @property
    def updated(self) -> int:
        """When it was made, in milliseconds since 1970."""
        return int(self.document.get("last-updated-ms", 0))

    @property
    def has_rows(self) -> bool:
        """Whether anything was ever committed to it."""
        return self.document.get("current-snapshot-id") not in (None, -1)

    @property
    def previous(self) -> str | None:
        log = self.document.get("metadata-log") or []
        return str(log[-1]["metadata-file"]) if log else None

    @property
    def rows(self) -> int | None:
        """As its current snapshot counts them."""
        snapshot = next(self._history(), None)
        found = (snapshot or {}).get("summary", {}).get("total-records")
        return int(found) if found is not None else None

    @property
    def offsets(self) -> Offsets:
        """Those of the newest snapshot that carries any."""
        carried = (snapshot["summary"].get(names.P_OFFSETS) for snapshot in self._history() if "summary" in snapshot)
        return decode_offsets(next((text for text in carried if text is not None), "{}"))

    @property
    def rank(self) -> tuple[int, int, int]:
        """Of two, the greater one was committed last."""
        return self.version, sum(self.offsets.values()), self.updated

    def _history(self) -> Iterator[Mapping[str, Any]]:
        by_id = {snapshot["snapshot-id"]: snapshot for snapshot in self.document.get("snapshots") or []}
        found = by_id.get(self.document.get("current-snapshot-id"))
        while found is not None:
            yield found
            found = by_id.get(found.get("parent-snapshot-id"))


@dataclass(frozen=True)
class Newest:
    """The file that was committed last, and why those beside it were not taken (path → reason)."""

    file: MetadataFile
    refused: Mapping[str, str]


def namespace_folders(warehouse: str, namespace: str) -> tuple[str, str]:
    """Where the tables of a namespace lie; the second is what earlier releases of pyiceberg called it."""
    return f"{warehouse.rstrip('/')}/{namespace}", f"{warehouse.rstrip('/')}/{namespace}.db"


def without_scheme(path: str) -> str:
    """As pyarrow names it."""
    return path.partition("://")[2]


def folder_of(metadata_location: str) -> str:
    """The table's folder, of its metadata file's address."""
    return metadata_location.rpartition("/")[0].rpartition("/")[0]


def numbered(files: FileSystem, location: str) -> dict[str, int]:
    """The metadata files in a table's folder, with their numbers."""
    scheme = location.partition("://")[0]
    listed = files.get_file_info(FileSelector(f"{without_scheme(location)}/metadata", allow_not_found=True))
    found = {f"{scheme}://{file.path}": NUMBERED.search(file.path) for file in listed}
    return {path: int(match[1]) for path, match in found.items() if match}


def read(files: FileSystem, path: str) -> MetadataFile:
    """Raises OSError where it is not there, ValueError where it is no metadata file."""
    with files.open_input_stream(without_scheme(path), compression=None) as stream:
        content = stream.read()
    document = orjson.loads(gzip.decompress(content) if content.startswith(GZIPPED) else content)
    match = NUMBERED.search(path)
    if not isinstance(document, dict) or match is None:
        raise ValueError(f"{path} is no metadata file")
    return MetadataFile(path, int(match[1]), document)


def newest(files: FileSystem, properties: Mapping[str, str], location: str, uuid: str | None = None) -> Newest | None:
    """The last committed metadata file in a table's folder whose files are all there; None if there is none.

    Without `uuid`, of the tables that were made in this folder one after another the one that was written to last.
    """
    refused: dict[str, str] = {}
    found = []
    for path in numbered(files, location):
        try:
            found.append(read(files, path))
        except (OSError, ValueError, EOFError) as failure:
            refused[path] = f"it cannot be read ({failure})"
    if uuid is None and found:
        uuid = max(found, key=lambda one: (one.has_rows, one.updated)).uuid
    for one in sorted(found, key=lambda one: one.rank, reverse=True):
        if one.uuid != uuid:
            refused[one.path] = "it is of another table that was in this folder"
        elif gone := missing(files, properties, one):
            refused[one.path] = f"{gone} is gone"
        else:
            return Newest(one, refused | _siblings(one, found))
    return None


def _siblings(chosen: MetadataFile, found: list[MetadataFile]) -> dict[str, str]:
    """Those that did not become part of the chosen one's past, as far as its log goes back."""
    log = {str(entry["metadata-file"]) for entry in chosen.document.get("metadata-log") or []}
    oldest = min((one.version for one in found if one.path in log), default=chosen.version)
    return {
        one.path: "another commit was first"
        for one in found
        if one.uuid == chosen.uuid and oldest <= one.version <= chosen.version and one.path not in {*log, chosen.path}
    }


def missing(files: FileSystem, properties: Mapping[str, str], of: MetadataFile) -> str:
    """The first file that the table's current snapshot needs and that is not there; empty if all are."""
    table = StaticTable.from_metadata(of.path, dict(properties))
    snapshot = table.current_snapshot()
    if snapshot is None:
        return ""
    there = {file.path for file in files_under(files, f"{without_scheme(table.location())}/data")}
    try:
        at = snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            at = manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io):
                path = entry.data_file.file_path
                if without_scheme(path) not in there and not files.get_file_info(without_scheme(path)).is_file:
                    return path
    except FileNotFoundError:
        return at
    return ""
