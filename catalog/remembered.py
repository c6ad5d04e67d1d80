"""What was read of files that never change, as far as there is room."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """What was used last, of together at most this weight; always the last one. Not thread-safe."""

    def __init__(self, most: int, weight: Callable[[Value], int] = lambda _: 1) -> None:
        self._most = most
        self._weight = weight
        self._read: OrderedDict[str, Value] = OrderedDict()
        self.held = 0

    def get(self, path: str, read: Callable[[], Value]) -> Value:
        """What this file holds, by `read` if it is not remembered."""
        if path in self._read:
            self._read.move_to_end(path)
            return self._read[path]
        found = self._read[path] = read()
        self.held += self._weight(found)
        while self.held > self._most and len(self._read) > 1:
            self.held -= self._weight(self._read.popitem(last=False)[1])
        return found
