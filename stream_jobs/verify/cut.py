"""A consistent cut through a stream's three tables while everything runs on.

Silver is read first. Bronze and quarantine, read after it, are at its offsets or beyond, and what they hold below those offsets
never changes again. So silver as of that snapshot is compared with the rows of the others below its offsets.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from catalog import names
from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.progress import Progress, table_progress

# A check that was killed leaves its tags; expiry drops them after this.
LONGEST_CHECK = timedelta(hours=12)
log = structlog.get_logger()


@dataclass(frozen=True)
class TableCut:
    """One table as it was when it was read."""

    table: Table
    progress: Progress

    @property
    def name(self) -> str:
        """`bronze.orders`."""
        return ".".join(self.table.name())

    @property
    def snapshot(self) -> Snapshot | None:
        """What readers saw then; its maker may be somebody else than the stream job."""
        return self.table.current_snapshot()

    def rows(self) -> int:
        """Rows that readers see, by the manifest list: exact where each position delete points at a row that is there."""
        if self.snapshot is None:
            return 0
        data, deleted = 0, 0
        for manifest in self.snapshot.manifests(self.table.io):
            rows = (manifest.added_rows_count or 0) + (manifest.existing_rows_count or 0)
            if manifest.content == ManifestContent.DATA:
                data += rows
            else:
                deleted += rows
        return data - deleted

    def history(self) -> list[Snapshot]:
        """From the current snapshot back to the oldest that is not expired."""
        found = []
        snapshot = self.table.current_snapshot()
        while snapshot is not None:
            found.append(snapshot)
            parent = snapshot.parent_snapshot_id
            snapshot = None if parent is None else self.table.snapshot_by_id(parent)
        return found


@dataclass(frozen=True)
class Cut:
    """The three tables of a stream."""

    stream: Stream
    silver: TableCut
    quarantine: TableCut
    bronze: TableCut

    @property
    def tables(self) -> tuple[TableCut, ...]:
        """In the order in which rows pass them."""
        return self.bronze, self.quarantine, self.silver


def cut(catalog: Catalog, stream: Stream) -> Cut:
    """The tables as they are now. Raises NoSuchTableError."""

    def one(layer: str) -> TableCut:
        table = catalog.load_table(names.table(layer, stream.name))
        return TableCut(table, table_progress(table))

    return Cut(stream, one(names.SILVER), one(names.QUARANTINE), one(names.BRONZE))


@contextmanager
def kept(taken: Cut) -> Iterator[None]:
    """Inside, no maintenance takes the files of this cut away: its snapshots have a tag. Raises SluiceError."""
    tag = f"sluice-verify-{uuid.uuid4().hex[:12]}"
    tagged = []
    try:
        for one in taken.tables:
            if one.snapshot is not None:
                _tag(one, one.snapshot.snapshot_id, tag)
                tagged.append(one)
        yield
    finally:
        for one in tagged:
            try:
                one.table.catalog.load_table(one.table.name()).manage_snapshots().remove_tag(tag).commit()
            except Exception as failure:  # the tag has an age, so what was proven stays the result
                log.warning("tag-left", table=one.name, tag=tag, reason=str(failure))


def _tag(one: TableCut, snapshot: int, tag: str) -> None:
    age = int(LONGEST_CHECK.total_seconds() * 1000)
    for _ in range(20):
        # The stream job commits each second, and pyiceberg tries only snapshots again.
        with suppress(CommitFailedException):
            table = one.table.catalog.load_table(one.table.name())
            table.manage_snapshots().create_tag(snapshot, tag, age).commit()
            return
    raise SluiceError(f"{one.name} is committed to so often that no snapshot of it could be kept; try again")


__all__ = ["Cut", "NoSuchTableError", "TableCut", "cut", "kept"]
