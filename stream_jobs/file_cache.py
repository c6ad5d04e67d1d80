"""Columns of data files that were read before; files never change."""

from collections import OrderedDict
from collections.abc import Callable

import pyarrow as pa


class FileCache:
    """Holds up to so many bytes. Not thread-safe.

    What the present look-up has used stays: a look-up of keys that lie all over a table reads every file, in the same order each
    time, and to drop the oldest for the newest would then leave nothing that the next one finds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._look_up = 0
        self._bytes = 0
        self._held: OrderedDict[str, tuple[pa.Table, int]] = OrderedDict()

    def begin(self) -> None:
        """Another look-up begins: what only earlier ones used may go."""
        self._look_up += 1

    def get(self, path: str, read: Callable[[], pa.Table]) -> pa.Table:
        """The columns of this file, by `read` if they are not held."""
        if path in self._held:
            found, _ = self._held.pop(path)
            self._held[path] = found, self._look_up
        else:
            found = read()
            self.put(path, found)
        return found

    def put(self, path: str, columns: pa.Table) -> None:
        """Hold the columns of a file that is not held, if there is room."""
        self._make_room(columns.nbytes)
        if self._bytes + columns.nbytes <= self._limit:
            self._bytes += columns.nbytes
            self._held[path] = columns, self._look_up

    def __contains__(self, path: str) -> bool:
        return path in self._held

    def _make_room(self, size: int) -> None:
        while self._held and self._bytes + size > self._limit:
            path, (oldest, used) = next(iter(self._held.items()))
            if used == self._look_up:
                return
            del self._held[path]
            self._bytes -= oldest.nbytes
