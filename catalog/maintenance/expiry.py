"""Which snapshots may go. The one home of this rule: maintenance expires by it, and the stream job where nobody else does.

A snapshot stays while a reader may hold it: until `age` has passed since another one took its place, however old it is itself.
The newest ones stay whatever their age, and so does everything down to the newest that carries a stream's Kafka offsets, for
it is the stream's checkpoint, and is found by walking the ancestry.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Newest snapshots that always stay.
KEEP = 20
# Snapshots of a table from which on the stream job expires them itself: nobody maintains this lake.
TOO_MANY = 1_000
# Commits without offsets that may come between the look at the history and the expiry.
SLACK = 10


@dataclass(frozen=True)
class Commit:
    """A snapshot of a table's history; `at` in milliseconds since 1970."""

    at: int
    has_offsets: bool


@dataclass(frozen=True)
class Cut:
    """What to ask of Iceberg: expire what is older than `older_than` (milliseconds), except the newest `retain`."""

    older_than: int
    retain: int
    expires: int


def cut(history: Sequence[Commit], now: int, age: int) -> Cut | None:
    """`history`: the current snapshot and its ancestors, newest first; `age` in milliseconds. None if nothing may go."""
    checkpoint = next((depth for depth, commit in enumerate(history) if commit.has_offsets), -1)
    retain = max(KEEP, checkpoint + 1 + SLACK)
    # The newest that was current when `age` began: a reader may have started on it just then.
    oldest = next((depth for depth, commit in enumerate(history) if commit.at <= now - age), None)
    if oldest is None or (expires := len(history) - max(retain, oldest + 1)) <= 0:
        return None
    return Cut(history[oldest].at, retain, expires)
