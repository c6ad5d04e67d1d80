"""Streams that are set aside: which, why, and when they may try again. Their offsets stay where they are, and the others go on."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from pyiceberg.exceptions import NoSuchTableError

from catalog import names
from catalog.contract import Stream
from catalog.kafka_offsets import topic_bounds
from catalog.lake import open_catalog
from catalog.progress import table_progress
from catalog.settings import LakeSettings

# Seconds until a stream that failed tries again, for the first time and at most: a try restarts the query for all.
FIRST, LONGEST = 5.0, 120.0


class Rests:
    """Streams that failed while others did not. The pause grows with each failure in a row."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._reasons: dict[str, str] = {}

    def failed(self, stream: str, reason: str) -> None:
        """Set the stream aside for a while."""
        failures = self._failures[stream] = self._failures.get(stream, 0) + 1
        self._until[stream] = self._clock() + min(LONGEST, FIRST * 2 ** (failures - 1))
        self._reasons[stream] = reason

    def went_well(self, stream: str) -> None:
        """The next failure is a first one."""
        for known in (self._failures, self._until, self._reasons):
            known.pop(stream, None)

    def resting(self) -> dict[str, str]:
        """The streams whose time has not come, with the reason."""
        now = self._clock()
        return {stream: self._reasons[stream] for stream, until in list(self._until.items()) if until > now}

    def moved(self, streams: Collection[str], at_work: Collection[str]) -> bool:
        """Whether one that is at work has failed, or one of the others may try again; some may since before the work began."""
        return self.resting().keys() & set(streams) != set(streams) - set(at_work)

    def forget_times(self) -> None:
        """Let all try again at once: a contract changed, or the servers are back."""
        self._until = dict.fromkeys(self._until, 0.0)


def bronze_offsets(lake: LakeSettings, streams: Iterable[str]) -> dict[str, dict[int, int]]:
    """Where bronze of each stream goes on: a person may move it beyond records that Kafka lost (`losses`)."""
    listed = list(streams)
    catalog = open_catalog(lake) if listed else None
    return {
        name: dict(table_progress(catalog.load_table(names.table(names.BRONZE, name))).offsets)
        for name in listed
        if catalog is not None
    }


def unapplied(lake: LakeSettings, streams: Mapping[str, Stream]) -> dict[str, str]:
    """Streams that the lake is not ready for, with the reason: `sluice apply` has not been run since their contract changed."""
    if not streams:
        return {}
    topics = asyncio.run(topic_bounds(lake, map(names.topic, streams)))
    catalog = open_catalog(lake)
    found = {}
    for name, stream in streams.items():
        if names.topic(name) not in topics:
            found[name] = "its topic is not there"
            continue
        for layer in names.LAYERS:
            try:
                columns = set(catalog.load_table(names.table(layer, name)).schema().column_names)
            except NoSuchTableError:
                found[name] = f"its table {names.table(layer, name)} is not there"
                break
            lacking = [c.name for c in stream.columns if c.name not in columns] if layer != names.BRONZE else []
            if lacking:
                found[name] = f"{names.table(layer, name)} lacks the column {lacking[0]}"
    return found
