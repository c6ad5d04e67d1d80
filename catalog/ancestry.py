"""The fence: what a commit demands of the table's history, asked by Iceberg inside the commit.

A `SnapshotAncestryValidator` is called with the history as it is at the moment of the commit, and again on each retry; the
commit that follows succeeds only on that very state. Objects here are presented to Java by py4j.
"""

import time
import weakref
from collections.abc import Callable
from typing import Any

from catalog import names
from catalog.progress import Offsets, Progress, decode_offsets, decode_totals, encode_offsets

# Seconds that files which belong to no snapshot yet may be relied on. Orphan removal takes them after an hour at the earliest
# (SLUICE_MAINTENANCE_ORPHAN_HOURS): a writer that was paused for longer would put the names of files that are gone into the table.
FILES_STAY = 1800.0


def may_be_gone(written: float) -> bool:
    """Whether files that were written at this time (of the clock on the wall, which goes on while a process is paused) may be
    removed as orphans by now."""
    return time.time() - written > FILES_STAY


def newest(snapshots: Any) -> Progress:
    """The state of the newest snapshot that carries offsets, of a Java iterable of snapshots from the newest on."""
    walk = snapshots.iterator()
    while walk.hasNext():
        snapshot = walk.next()
        summary = snapshot.summary()
        offsets = summary.get(names.P_OFFSETS)
        if offsets is not None:
            totals = decode_totals(summary.get(names.P_TOTALS))
            return Progress(decode_offsets(offsets), totals, int(snapshot.snapshotId()))
    return Progress()


class Unmoved:
    """The offsets are still those that the writer started from, and the files that it wrote since `written` are there. `moved`
    and `late` say afterwards whether that was refused.

    `looked` is called after each look, just before the commit.
    """

    def __init__(self, offsets: Offsets, written: float, looked: Callable[[], None] = lambda: None) -> None:
        self._looked = looked
        self._written = written
        self.late = False
        self._expected = encode_offsets(offsets)
        self._found = self._expected

    @property
    def moved(self) -> bool:
        """Whether another writer's offsets were found."""
        return self._found != self._expected

    def validate(self, snapshots: Any) -> bool:
        """Called back by Iceberg."""
        self._found = encode_offsets(newest(snapshots).offsets)
        self.late = may_be_gone(self._written)
        self._looked()
        return not self.moved and not self.late

    def errorMessage(self) -> str:  # noqa: N802 (Java's name)
        """Called back by Iceberg."""
        if self.moved:
            return f"another writer has committed offsets {self._found} where this one started from {self._expected}"
        return "its files were written so long ago that they may be gone as orphans; they are written again"

    class Java:
        """What py4j needs to present this object to Java."""

        implements = ("org.apache.iceberg.SnapshotAncestryValidator",)


class Carried:
    """Whatever offsets and totals the table has at the moment of the commit go into the new snapshot's summary.

    For commits that change no rows. They are taken over at each try, so they are never older than the state that the commit is
    made on: a rewrite neither moves a stream's progress nor hides it, whoever expires what is behind it. Refused where the files
    that were written since `written` may be gone. The caller keeps `update`: held here, it would hold this object from Java's
    side, and neither collector would ever see that nobody else does.
    """

    def __init__(self, update: Any, written: float) -> None:
        self._update = weakref.ref(update)
        self._written = written

    def validate(self, snapshots: Any) -> bool:
        """Called back by Iceberg, before it writes the summary."""
        update: Any = self._update()
        walk = snapshots.iterator()
        while walk.hasNext():
            summary = walk.next().summary()
            if summary.get(names.P_OFFSETS) is not None:
                for name in (names.P_OFFSETS, names.P_TOTALS):
                    if (value := summary.get(name)) is not None:
                        update.set(name, value)
                break
        return not may_be_gone(self._written)

    def errorMessage(self) -> str:  # noqa: N802 (Java's name)
        """Called back by Iceberg."""
        return "its files were written so long ago that they may be gone as orphans"

    class Java:
        """What py4j needs to present this object to Java."""

        implements = ("org.apache.iceberg.SnapshotAncestryValidator",)
