"""Put the merged file of a group in the place of its sources, while a stream goes on adding rows and deleting some.

The rows are written as of one snapshot. Meanwhile the stream may delete more of them, by their old places. So the last step, which
is quick, is made on the newest snapshot: what was deleted since is carried over to the rows' new places, and Iceberg checks
that nothing was deleted after that very snapshot. If something was, this step alone is done again, while the stream gives way to it
(`catalog.turns`). (The stream's own commits check that the files in which they found rows are still there, and look the rows up
again if not.)
"""

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from uuid import uuid4

import numpy as np

from catalog.data_files import FileForm
from catalog.maintenance import orphans
from catalog.maintenance.compaction import Group
from catalog.maintenance.faults import point
from catalog.maintenance.java import ConflictError
from catalog.maintenance.rewrite import Merged, merge
from catalog.maintenance.tools import Amount, Tools
from catalog.position_deletes import Positions

# Times that the last step is tried.
TRIES = 10


class GoneError(ConflictError):
    """A file of the group is no longer in the table: somebody else rewrote it. To try again would not help."""


@dataclass(frozen=True)
class Replaced:
    """What is left of the group, and how often the last step was tried."""

    left: Amount
    tries: int

    @property
    def detail(self) -> str:
        """For a person."""
        return "" if self.tries == 1 else f"try {self.tries}"


def replace(tools: Tools, identifier: str, form: FileForm, group: Group) -> Replaced:
    """Raises ConflictError where somebody else rewrote or removed these files, or was faster each time; FormError."""
    point("before-rewrite")
    begun = time.time()
    merged = merge(tools.files, form, group, tools.dead.of(group.deletes))
    for tried in range(1, TRIES + 1):
        try:
            # Who has lost once asks the stream to give way.
            with tools.turn(identifier) if tried > 1 else nullcontext():
                left = _commit(tools, identifier, form, group, merged, begun)
        except ConflictError as lost:
            if tried == TRIES or isinstance(lost, GoneError):
                orphans.remove(tools.files, [merged.path] if merged.path else [])
                raise
            continue
        point("after-commit")
        return Replaced(left, tried)
    raise AssertionError("the last try returns or raises")


def _commit(tools: Tools, identifier: str, form: FileForm, group: Group, merged: Merged, begun: float) -> Amount:
    """On the newest snapshot."""
    now = tools.load(identifier)[1]
    live = {file.path for file in now.data}
    missing = [file.path for file in group.files if file.path not in live]
    if missing or now.snapshot_id is None:
        raise GoneError(f"{len(missing)} of the files were rewritten or removed by somebody else")
    here = [file for file in now.deletes if (file.spec_id, file.partition) == group.place]
    carried = carry(tools.dead.of(here), live, group, merged)
    paths = {path: f"{form.location}/data/{uuid4()}-deletes.parquet" for path in carried}
    written = [
        form.write_deletes(tools.files, paths[path], *group.place, {path: rows}) for path, rows in carried.items()
    ]
    point("before-commit")
    added = [merged.described] if merged.described is not None else []
    try:
        tools.java.rewrite(
            identifier, now.snapshot_id, group.files, here, added, [described for described, _ in written], begun
        )
    except ConflictError:
        orphans.remove(tools.files, paths.values())
        raise
    return Amount(len(added) + len(written), merged.size + sum(size for _, size in written))


def carry(dead: dict[str, Positions], live: Iterable[str], group: Group, merged: Merged) -> dict[str, Positions]:
    """The dead rows of the group's partition after the rewrite, by data file: those of its sources by their new places."""
    sources, kept = {file.path for file in group.files}, set(live)
    moved = [merged.moved[path].places(rows) for path, rows in dead.items() if path in sources]
    found = {path: rows for path, rows in dead.items() if path in kept and path not in sources}
    if merged.path is not None and any(len(rows) for rows in moved):
        found[merged.path] = np.sort(np.concatenate(moved))
    return found
