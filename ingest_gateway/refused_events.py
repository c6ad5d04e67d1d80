"""Who sends events that their contract refuses, for a person on call: a line a sender now and then, however many there are."""

import time
from collections import Counter
from collections.abc import Callable

import structlog

EVERY = 10.0  # seconds between two lines for the same
log = structlog.get_logger("sluice.gateway.refused")


class RefusedEvents:
    """Counts them by stream and sender."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = -float("inf")
        self._counts: Counter[tuple[str, bytes]] = Counter()

    def count(self, stream: str, producer: bytes, events: int) -> None:
        """So many more. `producer`: as bronze would name who sent them, a key's id or a token's subject."""
        self._counts[stream, producer] += events

    def tell(self) -> None:
        """Log what has come, if the last time is long enough ago."""
        if not self._counts or self._clock() - self._told < EVERY:
            return
        self._told = self._clock()
        counts, self._counts = self._counts, Counter()
        for (stream, producer), events in counts.items():
            log.info("events refused", stream=stream, key=producer.decode(), events=events)
