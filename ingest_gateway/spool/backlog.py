"""One stream's events on disk: requests that wait are synced together, and segments leave oldest first."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from ingest_gateway.spool.frames import FRAME_BYTES
from ingest_gateway.spool.pace import Gate
from ingest_gateway.spool.segments import SEGMENT_BYTES, Segment, Writer, aside, next_number, path_for

P = ParamSpec("P")
T = TypeVar("T")
GROUP_BYTES = 4 << 20  # most that is synced at a time
log = structlog.get_logger("sluice.gateway.spool")


class SpoolRefuses(Exception):
    """The events are not on disk. `slug` names the kind of problem."""

    def __init__(self, slug: str, reason: str) -> None:
        super().__init__(reason)
        self.slug = slug


class Space:
    """The bytes that a spool may have on disk, and whether the disk takes them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.failure: str | None = None

    def take(self, size: int) -> None:
        """Raises SpoolRefuses where `size` bytes more do not fit."""
        if self.held + size > self.limit:
            raise SpoolRefuses("spool-full", f"the spool holds {self.held} of {self.limit} bytes")
        self.held += size

    def give(self, size: int) -> None:
        """They are on disk no more."""
        self.held -= size


@dataclass(slots=True)
class _Write:
    events: int
    body: bytes
    done: asyncio.Future[None]


class Backlog:
    """While it is `pending`, later events of the stream must come here too, or they would overtake."""

    def __init__(self, stream: str, folder: Path, space: Space, threads: Executor) -> None:
        self.stream = stream
        self.gate = Gate()
        self.segments: deque[Segment] = deque()
        self.stuck: str | None = None  # why the drain gets no further, for those who ask
        self._folder = folder
        self._space = space
        self._threads = threads
        self._number = 0
        self._writer: Writer | None = None
        self._aside: Writer | None = None
        self._waiting: deque[_Write] = deque()
        self._committer: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._filled = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether anything of the stream is on disk, or on its way there."""
        return bool(self.segments or self._writer is not None or self._waiting or self._committer is not None)

    @property
    def events(self) -> int:
        """How many events are on disk and not in Kafka, up to those of the segment that drains now."""
        return sum(segment.events for segment in self.segments) + (self._writer.events if self._writer else 0)

    @property
    def size(self) -> int:
        """Their bytes on disk."""
        return sum(segment.bytes for segment in self.segments) + (self._writer.bytes if self._writer else 0)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest of them was received, in ms since 1970."""
        if self.segments:
            return self.segments[0].oldest_ms
        return self._writer.oldest_ms if self._writer and self._writer.bytes else None

    def adopt(self, segments: Iterable[Segment]) -> None:
        """Segments that an earlier process left, in order: they go before all that is here."""
        found = list(segments)
        self.segments.extendleft(reversed(found))
        if found:
            self._filled.set()

    def put(self, events: int, body: bytes) -> asyncio.Future[None]:
        """Append. The future is done when it is synced, or raises SpoolRefuses; so does this where there is no room."""
        self._space.take(FRAME_BYTES + len(body))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_seen)
        self._waiting.append(_Write(events, body, done))
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit())
        return done

    async def oldest(self) -> Segment:
        """The segment to drain next. Waits until there is one."""
        while not self.segments:
            if not self.pending:
                self.gate.drain_ends()
            await self._filled.wait()
            self._filled.clear()
            async with self._lock:
                await self._end_segment()
        return self.segments[0]

    def drained(self, segment: Segment) -> None:
        """A segment is in Kafka and its file is gone."""
        self.segments.remove(segment)
        self._space.give(segment.bytes)

    async def set_aside(self, events: int, body: bytes) -> None:
        """Keep what Kafka refuses for good where it is in nobody's way. Returns when it is synced; raises OSError."""
        async with self._lock:
            if self._aside is None or self._aside.bytes >= SEGMENT_BYTES:
                if self._aside is not None:
                    await self._run(self._aside.close)
                self._aside = Writer(aside(await self._next_path()))
            before = self._aside.bytes
            try:
                await self._run(self._aside.append, [(events, body)])
            except OSError:
                writer, self._aside = self._aside, None  # as in `_failed`: it is used no more
                await self._run(writer.close)
                raise
            self._space.held += self._aside.bytes - before

    async def close(self) -> None:
        """Sync what waits and end the segment."""
        while self._committer is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._committer)
        async with self._lock:
            await self._end_segment()
            if self._aside is not None:
                await self._run(self._aside.close)

    async def _commit(self) -> None:
        try:
            while self._waiting:
                async with self._lock:
                    await self._commit_group(_group(self._waiting))
        finally:
            self._committer = None
            if not self.pending:
                self.gate.drain_ends()

    async def _commit_group(self, group: list[_Write]) -> None:
        asked = sum(FRAME_BYTES + len(write.body) for write in group)
        try:
            if self._writer is not None and self._writer.bytes >= SEGMENT_BYTES:
                await self._end_segment()
            if self._writer is None:
                self._writer = Writer(await self._next_path())
            before = self._writer.bytes
            await self._run(self._writer.append, [(write.events, write.body) for write in group])
        except Exception as failure:
            await self._failed(group, asked, failure)
            return
        self._space.held += self._writer.bytes - before - asked  # a new segment's header
        self._space.failure = None
        self._filled.set()
        for write in group:
            if not write.done.done():
                write.done.set_result(None)

    async def _failed(self, group: list[_Write], asked: int, failure: Exception) -> None:
        """After a failed write or sync nobody can say what the file holds beyond what was synced before: begin another."""
        self._space.give(asked)
        reason = str(failure) or type(failure).__name__
        if not isinstance(failure, OSError):
            log.exception("events could not be spooled", stream=self.stream)
        elif self._space.failure is None:
            log.error("the disk refuses the spool", stream=self.stream, reason=reason)
        self._space.failure = reason
        await self._end_segment()
        for write in group:
            if not write.done.done():
                write.done.set_exception(SpoolRefuses("spool-disk", f"the disk refuses: {reason}"))

    async def _end_segment(self) -> None:
        if self._writer is None:
            return
        segment = await self._run(self._writer.close)
        self._writer = None  # only now: in between the stream must look pending
        if segment is not None:
            self.segments.append(segment)
            self._filled.set()

    async def _next_path(self) -> Path:
        self._number = max(self._number + 1, await self._run(next_number, self._folder))
        return path_for(self._folder, self._number)

    async def _run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *arguments, **named))


def _seen(done: asyncio.Future[None]) -> None:
    """Nobody may wait for it any more; that is no error."""
    if not done.cancelled():
        done.exception()


def _group(waiting: deque[_Write]) -> list[_Write]:
    group = [waiting.popleft()]
    size = len(group[0].body)
    while waiting and size + len(waiting[0].body) <= GROUP_BYTES:
        group.append(waiting.popleft())
        size += len(group[-1].body)
    return group
