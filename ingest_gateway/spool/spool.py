"""The spool of one worker: takes events while Kafka is away or older ones wait, drains them, tells how it is."""

import asyncio
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from catalog.names import topic
from ingest_gateway.metrics import (
    SPOOL_ASIDE,
    SPOOL_BYTES,
    SPOOL_DISK,
    SPOOL_DISK_FREE,
    SPOOL_EVENTS,
    SPOOL_LIMIT,
    SPOOL_OLDEST,
)
from ingest_gateway.records import Records
from ingest_gateway.spool import entries, folders, segments
from ingest_gateway.spool.backlog import Backlog, Space, SpoolRefuses
from ingest_gateway.spool.drain import Drain, Kafka
from ingest_gateway.spool.folders import Slot
from ingest_gateway.spool.pace import Rate
from ingest_gateway.spool.segments import Segment

P = ParamSpec("P")
T = TypeVar("T")
LOOK_AROUND = 2.0  # seconds between two looks for folders of dead workers, and at a disk that refused
log = structlog.get_logger("sluice.gateway.spool")


@dataclass(frozen=True)
class Held:
    """What waits of one stream. `stuck` says why it does not drain, where that is known."""

    events: int
    bytes: int
    oldest: float | None  # seconds since 1970
    stuck: str | None


@dataclass
class _Adopted:
    slot: Slot
    waiting: list[Segment] = field(default_factory=list)


class Spool:
    """Made and used in the event loop. `start` before the first request, `close` after the last."""

    def __init__(self, root: Path, limit: int, drain_bytes: int, timeout: float, kafka: Kafka) -> None:
        self.space = Space(limit)
        self.aside: dict[str, int] = {}  # events that Kafka refuses for good, by stream, of all processes
        self._root = root
        self._timeout = timeout
        self._kafka = kafka
        self._rate = Rate(drain_bytes)
        # Reading, writing and syncing block; a few at a time are enough for one disk.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="spool")
        self._slot: Slot | None = None
        self._adopted: list[_Adopted] = []
        self._backlogs: dict[str, Backlog] = {}
        self._drains: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._set_aside = folders.Aside(root)

    async def start(self) -> None:
        """Take a folder, and over whatever dead processes left. Raises SluiceError or OSError."""
        SPOOL_LIMIT.set(self.space.limit)
        await self._run(folders.prepare, self._root)
        self._slot = await self._run(folders.claim, self._root)
        self._take_in(await self._run(_recover, self._slot))
        await self._adopt()
        self.aside = await self._run(self._set_aside.events)
        self._watch = asyncio.create_task(self._look_around())

    async def close(self) -> None:
        """Finish what is being written. What is not drained stays for the next process."""
        tasks = [*self._drains, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for backlog in self._backlogs.values():
            await backlog.close()
        for slot in [self._slot, *(adopted.slot for adopted in self._adopted)]:
            if slot is not None:
                slot.release()
        self._threads.shutdown(wait=False)

    def holds(self, stream: str) -> bool:
        """Whether events of the stream wait: later ones must not overtake them."""
        backlog = self._backlogs.get(stream)
        return backlog is not None and backlog.pending

    async def put(self, stream: str, records: Records, overtaking: bool) -> bool:
        """Return True when the records are synced to disk. Raises SpoolRefuses.

        With `overtaking` false, the records are there only to keep their order: False is returned where all that was before
        them has gone to Kafka meanwhile, so that they can go there themselves.
        """
        body = entries.encode(records)
        backlog = self._backlog(stream)
        try:
            async with asyncio.timeout(self._timeout):
                await backlog.gate.enter(len(body))
                if not overtaking and not backlog.pending:
                    return False
                synced = backlog.put(len(records.ids), body)
                await asyncio.shield(synced)
        except TimeoutError:
            raise SpoolRefuses("spool-slow", f"the disk did not sync within {self._timeout:g} s") from None
        return True

    def refusal(self) -> SpoolRefuses | None:
        """Why nothing can be taken now, or None."""
        if self.space.failure is not None:
            return SpoolRefuses("spool-disk", f"the disk refuses the spool: {self.space.failure}")
        if self.space.held >= self.space.limit:
            return SpoolRefuses("spool-full", f"the spool holds {self.space.held} of {self.space.limit} bytes")
        return None

    def held(self) -> dict[str, Held]:
        """What waits, by stream."""
        return {
            name: Held(b.events, b.size, None if b.oldest_ms is None else b.oldest_ms / 1000, b.stuck)
            for name, b in sorted(self._backlogs.items())
            if b.pending
        }

    def flush_metrics(self) -> None:
        """Bring the gauges up to date."""
        held = self.held().values()
        SPOOL_BYTES.set(self.space.held)
        SPOOL_EVENTS.set(sum(stream.events for stream in held))
        SPOOL_ASIDE.set(sum(self.aside.values()))
        oldest = min((stream.oldest for stream in held if stream.oldest is not None), default=None)
        SPOOL_OLDEST.set(0 if oldest is None else max(0.0, time.time() - oldest))

    def _backlog(self, stream: str) -> Backlog:
        found = self._backlogs.get(stream)
        if found is None:
            assert self._slot is not None, "the spool was not started"
            found = self._backlogs[stream] = Backlog(stream, self._slot.folder / stream, self.space, self._threads)
            drain = Drain(found, topic(stream), self._kafka, self._rate, self._threads)
            self._drains.append(asyncio.create_task(drain.run(), name=f"drain {stream}"))
        return found

    def _take_in(self, found: dict[str, list[Segment]]) -> list[Segment]:
        for stream, its in found.items():
            self.space.held += sum(segment.bytes for segment in its)
            self._backlog(stream).adopt(its)
        return [segment for its in found.values() for segment in its]

    async def _adopt(self) -> None:
        """Take over what dead processes left, and give back the folders of those whose events are in Kafka."""
        for slot in await self._run(lambda: list(folders.orphans(self._root))):
            log.warning("spooled events of a process that is gone are taken over", folder=str(slot.folder))
            self._adopted.append(_Adopted(slot, self._take_in(await self._run(_recover, slot))))
        for adopted in list(self._adopted):
            adopted.waiting = [segment for segment in adopted.waiting if segment.path.exists()]
            if not adopted.waiting:
                self._adopted.remove(adopted)
                adopted.slot.release()

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AROUND)
            try:
                await self._adopt()
                self.aside = await self._run(self._set_aside.events)
                disk = await self._run(shutil.disk_usage, self._root)
                SPOOL_DISK.set(disk.total)
                SPOOL_DISK_FREE.set(disk.free)
                if self.space.failure is not None:
                    await self._run(folders.probe, self._root)
                    self.space.failure = None
                    log.info("the disk takes the spool again")
            except OSError as failure:
                self.space.failure = str(failure)

    async def _run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments, **named))


def _recover(slot: Slot) -> dict[str, list[Segment]]:
    """All segments of a folder, by stream, oldest first. What was set aside gets another chance."""
    segments.put_back(slot.folder)
    return {folder.name: [_recovered(path) for path in segments.in_order(folder)] for folder in slot.streams()}


def _recovered(path: Path) -> Segment:
    try:
        segment, content = segments.recovered(path)
    except OSError as failure:  # the drain will try again, and say so
        log.error("a segment cannot be read", path=str(path), reason=str(failure))
        return Segment(path, 0, 0, 0)
    log.info("a segment was found", path=str(path), events=segment.events, torn_bytes=content.torn)
    if content.damaged:
        log.error("a segment is damaged", path=str(path), bytes=content.damaged)
    return segment
