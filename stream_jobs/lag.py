"""How far silver is behind Kafka, looked at beside the query: it is told while that waits, or hangs, too."""

import asyncio
import threading
import time
from collections.abc import Collection, Mapping

from catalog import names
from catalog.kafka_offsets import topic_bounds
from catalog.progress import Offsets
from catalog.settings import LakeSettings
from stream_jobs.failures import first_line
from stream_jobs.metrics import COMMITTED, LAG, LAG_SECONDS, OFFSET, Health

LOOK_EVERY = 10.0


class Lag:
    """What is known of each stream: where silver is, and since when it has had something to take without a step."""

    def __init__(self) -> None:
        self._reached: dict[str, Offsets] = {}
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()  # batches of several streams, the job's own thread and the one that looks

    def reached(self, stream: str, offsets: Offsets, now: float) -> None:
        """Silver's offsets after a commit, or at the start. Those of before are no step: sessions may fail one after the other."""
        with self._lock:
            before = self._reached.get(stream)
            if before is None or any(offset > before.get(partition, 0) for partition, offset in offsets.items()):
                self._since[stream] = now
            self._reached[stream] = dict(offsets)
            for partition, offset in offsets.items():
                OFFSET.labels(stream, str(partition)).set(offset)

    def seen(self, ends: Mapping[str, Offsets], now: float) -> None:
        """By stream, the next offset that each partition of its topic will have. Streams that were dropped meanwhile stay so."""
        with self._lock:
            for stream, of in ends.items():
                at = self._reached.get(stream)
                if at is None:
                    continue
                behind = sum(max(0, end - at.get(partition, 0)) for partition, end in of.items())
                if not behind:
                    self._since[stream] = now
                LAG.labels(stream).set(behind)
                LAG_SECONDS.labels(stream).set(now - self._since[stream])

    def keep(self, streams: Collection[str]) -> None:
        """Drop what is known and told of all others: this job does not move them on, and their lag would only grow."""
        with self._lock:
            for stream in self._reached.keys() - set(streams):
                del self._reached[stream], self._since[stream]
                for gauge in (LAG, LAG_SECONDS, OFFSET, COMMITTED):
                    gauge.remove_by_labels({"stream": stream})

    def watch(self, lake: LakeSettings, health: Health) -> None:
        """Look at Kafka every few seconds, in a thread that ends with the process. `health` is told if it does not answer."""
        threading.Thread(target=self._watch, args=(lake, health), name="lag", daemon=True).start()

    def _watch(self, lake: LakeSettings, health: Health) -> None:
        while True:
            try:
                with self._lock:
                    streams = list(self._reached)
                bounds = asyncio.run(topic_bounds(lake, map(names.topic, streams)))
                found = {stream: bounds.get(names.topic(stream), {}) for stream in streams}
                self.seen({s: {p: end for p, (_, end) in of.items()} for s, of in found.items()}, time.monotonic())
                health.away = ""
            except Exception as failure:  # of the client's many kinds: each means that Kafka could not be asked
                health.away = f"Kafka does not answer: {first_line(failure)}"
            time.sleep(LOOK_EVERY)
