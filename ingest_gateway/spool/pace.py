"""How fast a spool empties, and how fast it may fill meanwhile."""

import asyncio

BURST = 64 << 10  # bytes that a stream may spool before it has to wait for its drain


class Rate:
    """At most so many bytes a second, over all streams of a worker."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Wait until `size` bytes more may go."""
        now = asyncio.get_running_loop().time()
        start = max(now, self._free_at)
        self._free_at = start + size / self._per_second
        if start > now:
            await asyncio.sleep(start - now)


class Gate:
    """While a stream drains, half of what goes out may come in: so the spool empties under any load, and order is kept.

    It stands open while there is no drain to outrun, because Kafka is away, or when all is drained.
    """

    def __init__(self) -> None:
        self._credit = BURST
        self._open = asyncio.Event()
        self._open.set()
        self.draining = False

    def drain_begins(self) -> None:
        """From here on what comes in is counted."""
        if not self.draining:
            self.draining, self._credit = True, BURST

    def drain_ends(self) -> None:
        """All drained, or stuck: let everyone through."""
        self.draining = False
        self._open.set()

    def drained(self, size: int) -> None:
        """`size` bytes are in Kafka."""
        self._credit = min(BURST, self._credit + size // 2)
        if self._credit > 0:
            self._open.set()

    async def enter(self, size: int) -> None:
        """Wait until `size` bytes may be spooled."""
        while self.draining and self._credit <= 0:
            self._open.clear()
            await self._open.wait()
        self._credit -= size
