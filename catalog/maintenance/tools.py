"""What the work on a table needs, and how it tells what it did."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from pyarrow.fs import FileSystem
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from catalog.maintenance.deletes import DeadRows
from catalog.maintenance.inventory import Inventories, Inventory
from catalog.maintenance.java import JavaTables
from catalog.maintenance.settings import MaintenanceSettings

COMPACT, EXPIRE, ORPHANS = "compact", "expire", "orphans"
DONE, NOTHING, PLANNED, CONFLICT, FAILED = "done", "nothing", "planned", "conflict", "failed"


@dataclass(frozen=True)
class Tools:
    """Clients and memories that the work on all tables shares."""

    catalog: Catalog
    files: FileSystem
    java: JavaTables
    settings: MaintenanceSettings
    inventories: Inventories
    dead: DeadRows
    turn: Callable[[str], AbstractContextManager[None]]
    dry_run: bool = False

    def load(self, identifier: str) -> tuple[Table, Inventory]:
        """The table as it is now, and its live files. Raises ValueError where its files can't be understood."""
        table = self.catalog.load_table(identifier)
        return table, self.inventories.of(table)


@dataclass(frozen=True)
class Amount:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Effect:
    """What an action changed."""

    outcome: str
    before: Amount = Amount()
    after: Amount = Amount()
    detail: str = ""


@dataclass(frozen=True)
class Done:
    """A row of `ops.maintenance`."""

    at: datetime
    table: str
    action: str
    outcome: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    seconds: float
    detail: str


def timed(identifier: str, action: str, work: Callable[[], Effect]) -> Done:
    """Do it, and say what it did and how long it took."""
    at, started = datetime.now(UTC), time.monotonic()
    effect = work()
    before, after = effect.before, effect.after
    return Done(
        at, identifier, action, effect.outcome, before.files, after.files, before.bytes, after.bytes,
        round(time.monotonic() - started, 3), effect.detail,
    )  # fmt: skip
