"""Segment files: written append-only and synced, read whole, removed when Kafka has what they hold."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ingest_gateway.spool import frames
from ingest_gateway.spool.entries import received_ms
from ingest_gateway.spool.frames import Damage, Frame, Torn

SUFFIX = ".spool"
DAMAGED = ".damaged"  # appended to the name of a segment of which a part could not be read
ASIDE = ".aside"  # appended to the name of a segment of events that Kafka refuses for good
SEGMENT_BYTES = 8 << 20  # a new one is begun beyond this, so that a drained part of the spool gives its room back


@dataclass
class Segment:
    """A segment that is written no more. `oldest_ms` is when its first events were received; `sent` counts drained frames."""

    path: Path
    bytes: int
    events: int
    oldest_ms: int
    sent: int = 0


@dataclass(frozen=True)
class Content:
    """What a segment holds. `damaged` is the number of bytes that are lost, `torn` of those that were never acknowledged."""

    frames: list[Frame]
    damaged: int
    torn: int


class Writer:
    """The segment that is appended to. Its methods block, and are called by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0  # synced
        self.events = 0
        self.oldest_ms = 0
        self._marker = frames.new_marker()
        self._file = -1

    def append(self, bodies: Sequence[tuple[int, bytes]]) -> None:
        """Write frames (number of events, body) and sync them. Raises OSError; then nothing of them is left, if that can be."""
        pieces = [frames.frame(self._marker, events, body) for events, body in bodies]
        try:
            if self._file < 0:
                self._file = _create(self.path)
            if not self.bytes:
                pieces.insert(0, frames.header(self._marker))
            _write(self._file, b"".join(pieces))
            os.fdatasync(self._file)
            if not self.bytes:
                sync_folder(self.path.parent)
        except OSError:
            if self._file >= 0:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self.bytes)
            raise
        if not self.bytes:
            self.oldest_ms = received_ms(bodies[0][1])
        self.bytes += sum(map(len, pieces))
        self.events += sum(events for events, _ in bodies)

    def close(self) -> Segment | None:
        """End the segment. One that holds nothing is removed, and None is returned."""
        if self._file >= 0:
            with contextlib.suppress(OSError):  # what matters was synced
                os.close(self._file)
            self._file = -1
        if self.bytes:
            return Segment(self.path, self.bytes, self.events, self.oldest_ms)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        return None


def pieces(path: Path) -> Iterator[Frame | Damage | Torn]:
    """What is in a segment, a frame in memory at a time unless it is damaged. Raises OSError."""
    place = 0
    with path.open("rb") as file:
        marker = frames.marker_of(file.read(frames.HEADER_BYTES))
        if marker is not None:
            place = frames.HEADER_BYTES
            while (found := frames.frame_at(file, place, marker)) is not None:
                yield found
                place = found.end
        if place < os.fstat(file.fileno()).st_size:
            file.seek(0)
            yield from frames.scan(file.read(), place)


def content(path: Path) -> Content:
    """Read a segment. Raises OSError."""
    found: list[Frame] = []
    damaged = torn = 0
    for piece in pieces(path):
        if isinstance(piece, Frame):
            found.append(piece)
        elif isinstance(piece, Damage):
            damaged += piece.end - piece.start
        else:
            torn = path.stat().st_size - piece.start
    return Content(found, damaged, torn)


def next_part(rest: Iterator[Frame | Damage | Torn], size: int) -> Content | None:
    """About `size` bytes of what is left of a segment, or None where nothing is. Raises OSError."""
    found: list[Frame] = []
    damaged = taken = 0
    for piece in rest:
        if isinstance(piece, Frame):
            found.append(piece)
            taken += piece.end - piece.start
        elif isinstance(piece, Damage):
            damaged += piece.end - piece.start
        if taken >= size:
            break
    return Content(found, damaged, 0) if found or damaged else None


def recovered(path: Path) -> tuple[Segment, Content]:
    """A segment that an earlier process left. Raises OSError."""
    held = content(path)
    oldest = 0
    with contextlib.suppress(msgspec.DecodeError):
        oldest = received_ms(held.frames[0].body) if held.frames else 0
    return Segment(path, path.stat().st_size, sum(f.events for f in held.frames), oldest), held


def retire(path: Path, damaged: bool) -> None:
    """Delete a segment that was drained; what could not be read of one is kept for a person. Raises OSError."""
    if damaged:
        path.rename(path.with_name(path.name + DAMAGED))
    else:
        path.unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """The name of a segment that is not drained."""
    return path.with_name(path.name + ASIDE)


def put_back(slot: Path) -> None:
    """Let what was set aside in a process's folder be drained again: the topic may take it by now. Raises OSError."""
    for path in slot.glob(f"*/*{SUFFIX}{ASIDE}"):
        path.rename(path.with_name(path.name.removesuffix(ASIDE)))


def in_order(folder: Path) -> list[Path]:
    """A stream's segments, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def path_for(folder: Path, number: int) -> Path:
    """The file of the segment with that number."""
    return folder / f"{number:012d}{SUFFIX}"


def next_number(folder: Path) -> int:
    """A number above those of all files there, damaged ones included."""
    return max((int(p.name.split(".")[0]) for p in folder.glob(f"*{SUFFIX}*") if p.name[:12].isdigit()), default=0) + 1


def _create(path: Path) -> int:
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def sync_folder(folder: Path) -> None:
    """Make sure that files and folders that were made there are still there after a power cut. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
