"""A segment file's bytes: a header, then frames, each with checksums, so that whatever a crash or a disk left can be told apart.

header: 16 bytes of magic, 8 of the segment's own random marker, CRC-32 of both. Frame: the marker, length of its body, number of
its events, CRC-32 of the body, CRC-32 of those four, the body. Numbers are unsigned 32-bit, little-endian.
"""

import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import IO

MAGIC = b"sluice-spool-1\r\n"
MARKER_BYTES = 8
_CRC = Struct("<I")
_FACTS = Struct("<8sIII")  # marker, length, events, CRC of the body
HEADER_BYTES = len(MAGIC) + MARKER_BYTES + _CRC.size
FRAME_BYTES = _FACTS.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Frame:
    """What was written at one time: `events` events, as one body."""

    start: int
    end: int
    events: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that had been written whole and no longer are: what they held may have been acknowledged."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Torn:
    """The file ends within a frame: its writing was cut short, so nobody was told that it is safe."""

    start: int


def new_marker() -> bytes:
    """Random, so that no payload can pretend to be a frame."""
    return os.urandom(MARKER_BYTES)


def header(marker: bytes) -> bytes:
    """The beginning of a segment."""
    return _with_crc(MAGIC + marker)


def frame(marker: bytes, events: int, body: bytes) -> bytes:
    """The bytes to append."""
    return _with_crc(_FACTS.pack(marker, len(body), events, zlib.crc32(body))) + body


def scan(data: bytes, start: int = 0) -> Iterator[Frame | Damage | Torn]:
    """All that is in a segment from a frame's `start` on, in order. Damage is skipped up to the next whole frame; never raises."""
    marker, file = _marker(data), io.BytesIO(data)
    place = start
    if start == 0 and marker_of(data[:HEADER_BYTES]) is not None:
        place = HEADER_BYTES
    while place < len(data):
        found = frame_at(file, place, marker) or _broken_at(data, place, marker)
        yield found
        if isinstance(found, Torn):
            return
        place = found.end


def marker_of(head: bytes) -> bytes | None:
    """The marker that a segment's first bytes name, or None where they are damaged or cut short."""
    facts = head[: len(MAGIC) + MARKER_BYTES]
    return facts[len(MAGIC) :] if head == _with_crc(facts) and facts.startswith(MAGIC) else None


def frame_at(file: IO[bytes], place: int, marker: bytes) -> Frame | None:
    """The frame that begins there, or None where none that is whole does. Raises OSError."""
    file.seek(place)
    facts = file.read(FRAME_BYTES)
    if len(facts) < FRAME_BYTES or not facts.startswith(marker) or facts != _with_crc(facts[: _FACTS.size]):
        return None
    _, length, events, checksum = _FACTS.unpack_from(facts)
    body = file.read(length)
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    return Frame(place, place + FRAME_BYTES + length, events, body)


def _marker(data: bytes) -> bytes:
    """From the header, or, where that is damaged, from the first frame."""
    found = marker_of(data[:HEADER_BYTES])
    return data[HEADER_BYTES : HEADER_BYTES + MARKER_BYTES].ljust(MARKER_BYTES, b"\0") if found is None else found


def _broken_at(data: bytes, place: int, marker: bytes) -> Damage | Torn:
    file = io.BytesIO(data)
    following = data.find(marker, place + 1)
    while following >= 0:
        if frame_at(file, following, marker) is not None:
            return Damage(place, following)
        following = data.find(marker, following + 1)
    return Torn(place) if _is_torn(data[place:], place, marker) else Damage(place, len(data))


def _is_torn(rest: bytes, place: int, marker: bytes) -> bool:
    if not any(rest):  # the file was made longer, and its bytes never came: a power cut
        return True
    if place == 0:
        return len(rest) < HEADER_BYTES and MAGIC.startswith(rest[: len(MAGIC)])
    if len(rest) < FRAME_BYTES:
        return rest.startswith(marker) or marker.startswith(rest)
    facts = rest[:FRAME_BYTES]
    return facts == _with_crc(facts[: _FACTS.size]) and len(rest) < FRAME_BYTES + _FACTS.unpack_from(facts)[1]


def _with_crc(facts: bytes) -> bytes:
    return facts + _CRC.pack(zlib.crc32(facts))
