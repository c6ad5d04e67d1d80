"""Compressed bodies: `Content-Encoding` gzip and zstd, decompressed piece by piece so that a bomb is stopped as it unfolds."""

import sys
import zlib
from collections.abc import Callable, Iterator

from ingest_gateway.problems import Problem

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

ACCEPTED = "gzip, zstd, identity"
PIECE = 256 << 10  # most bytes that are decompressed before they are counted
MOST_MEMBERS = 100  # of one body: each costs a decompressor, and an empty one only 9 bytes
_SLICE = 64 << 10  # a decompressor copies the input that it leaves over, so it gets a little at a time
# RFC 9659: what is sent under this name needs no window above 8 MiB; a decoder would reserve whatever a frame asks for.
_ZSTD: dict[int, int] = {DecompressionParameter.window_log_max: 23}


class _Broken(Exception):
    """Why the bytes are not what their encoding says."""


def unpacker(header: str | None) -> str | None:
    """The encoding to undo, None for none. Raises Problem 415."""
    if header is None:
        return None
    name = header.strip().lower()
    if name in ("", "identity"):
        return None
    if name == "x-gzip":  # RFC 9110, 8.4.1.3
        name = "gzip"
    if name not in _READERS:
        detail = f"Content-Encoding is {header[:40]}; send one of {ACCEPTED}"
        raise Problem(415, "content-encoding", detail, headers={"accept-encoding": ACCEPTED})
    return name


def unpacked(body: bytes, encoding: str, most: int, take: Callable[[int], None]) -> bytes:
    """The bytes that were compressed. `take` is told of each piece's size before the next one is made, and may raise.

    Raises Problem 400 where the bytes are broken, cut off or followed by others, 413 where they become more than `most`.
    """
    pieces, size = [], 0
    try:
        for piece in _READERS[encoding](body):
            size += len(piece)
            if size > most:
                detail = f"A body may have {most} bytes when it is decompressed; send fewer events at a time"
                raise Problem(413, "body-too-large", detail)
            take(len(piece))
            pieces.append(piece)
    except _Broken as failure:
        raise Problem(400, "not-decompressed", f"The body is not {encoding}: {failure}") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _gunzipped(body: bytes) -> Iterator[bytes]:
    place = 0
    for _ in range(MOST_MEMBERS):
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            rest, place = _slice(body, place)
            full = False
            while (rest or full) and not inflater.eof:
                try:
                    piece = inflater.decompress(rest, PIECE)
                except zlib.error:
                    raise _Broken(_damaged(place)) from None
                yield piece
                rest, full = inflater.unconsumed_tail, len(piece) == PIECE
        place -= len(inflater.unused_data)
        if place == len(body):
            return
    raise _Broken(f"it has more than {MOST_MEMBERS} members")


def _unzstd(body: bytes) -> Iterator[bytes]:
    place = 0
    for _ in range(MOST_MEMBERS):
        frame = ZstdDecompressor(options=_ZSTD)
        rest = b""
        while not frame.eof:
            if frame.needs_input:
                rest, place = _slice(body, place)
            try:
                yield frame.decompress(rest, PIECE)
            except ZstdError:
                raise _Broken(f"{_damaged(place)}, or it needs a dictionary or a window above 8 MiB") from None
            rest = b""
        place -= len(frame.unused_data)
        if place == len(body):
            return
    raise _Broken(f"it has more than {MOST_MEMBERS} frames")


def _slice(body: bytes, place: int) -> tuple[bytes, int]:
    found = body[place : place + _SLICE]
    if not found:
        raise _Broken("it is cut off")
    return found, place + len(found)


def _damaged(place: int) -> str:
    return f"it is damaged, or something else follows it, in the first {place} bytes"


_READERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {"gzip": _gunzipped, "zstd": _unzstd}
