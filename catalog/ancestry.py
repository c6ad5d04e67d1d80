"""The fence: what a commit demands of the table's history, asked by Iceberg inside the commit.

A `SnapshotAncestryValidator` is called with the history as it is at the moment of the commit, and again on each retry; the
commit that follows succeeds only on that very state. Objects here are presented to Java by py4j.
"""

from collections.abc import Callable
from typing import Any

from catalog import names
from catalog.progress import Offsets, Progress, decode_offsets, decode_totals, encode_offsets


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
    """The offsets are still those that the writer started from. `moved` says afterwards whether that was refused.

    `looked` is called after each look, just before the commit.
    """

    def __init__(self, offsets: Offsets, looked: Callable[[], None] = lambda: None) -> None:
        self._looked = looked
        self._expected = encode_offsets(offsets)
        self._found = self._expected

    @property
    def moved(self) -> bool:
        """Whether another writer's offsets were found."""
        return self._found != self._expected

    def validate(self, snapshots: Any) -> bool:
        """Called back by Iceberg."""
        self._found = encode_offsets(newest(snapshots).offsets)
        self._looked()
        return not self.moved

    def errorMessage(self) -> str:  # noqa: N802 (Java's name)
        """Called back by Iceberg."""
        return f"another writer has committed offsets {self._found} where this one started from {self._expected}"

    class Java:
        """What py4j needs to present this object to Java."""

        implements = ("org.apache.iceberg.SnapshotAncestryValidator",)


class Carried:
    """Whatever offsets and totals the table has at the moment of the commit go into the new snapshot's summary.

    For commits that change no rows. They are taken over at each try, so they are never older than the state that the commit is
    made on: a rewrite neither moves a stream's progress nor hides it, whoever expires what is behind it.
    """

    def __init__(self, update: Any) -> None:
        self._update = update

    def validate(self, snapshots: Any) -> bool:
        """Called back by Iceberg, before it writes the summary."""
        walk = snapshots.iterator()
        while walk.hasNext():
            summary = walk.next().summary()
            if summary.get(names.P_OFFSETS) is not None:
                for name in (names.P_OFFSETS, names.P_TOTALS):
                    if (value := summary.get(name)) is not None:
                        self._update.set(name, value)
                break
        return True

    def errorMessage(self) -> str:  # noqa: N802 (Java's name)
        """Called back by Iceberg."""
        return "never refused"

    class Java:
        """What py4j needs to present this object to Java."""

        implements = ("org.apache.iceberg.SnapshotAncestryValidator",)
