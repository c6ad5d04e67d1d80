"""Reading a request: its headers, its body within the limits, and the bytes that the gateway holds at a time."""

import asyncio
from collections.abc import Iterable

from starlette.types import Receive

from ingest_gateway import encodings
from ingest_gateway.metrics import IN_FLIGHT_BYTES
from ingest_gateway.problems import Problem, unavailable
from ingest_gateway.settings import GatewaySettings

OVERHEAD = 1024  # bytes that a request costs beside its body, so that many small ones are bounded too


class ClientGone(Exception):
    """The client closed the connection before its body was complete; nobody is there to answer."""


class Budget:
    """Bytes in flight, bounded: what does not fit is turned away at once, not queued."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        IN_FLIGHT_BYTES.set(0)

    def take(self, size: int) -> bool:
        """Hold `size` bytes more, if they fit."""
        if self.held + size > self.limit:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Hold them no more."""
        self.held -= size


class Hold:
    """One request's share of the budget, given back as a whole."""

    def __init__(self, budget: Budget, retry_after: int) -> None:
        self._budget = budget
        self._retry_after = retry_after
        self._size = 0

    def take(self, size: int) -> None:
        """Raises Problem 503 where the gateway holds too much already."""
        if not self._budget.take(size):
            raise unavailable("overloaded", "The gateway holds as many bytes as it may; send again", self._retry_after)
        self._size += size

    def release(self) -> None:
        """Give everything back."""
        self._budget.give(self._size)
        self._size = 0


class RequestHeaders:
    """A request's headers, decoded only when asked for; of a repeated header the last."""

    __slots__ = ("_raw",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw: dict[bytes, bytes] = dict(pairs)

    def isdisjoint(self, names: frozenset[bytes]) -> bool:
        """Whether none of these headers is there."""
        return names.isdisjoint(self._raw)

    def get(self, name: bytes) -> str | None:
        """The value of a header, by its lower-case name."""
        value = self._raw.get(name)
        return None if value is None else value.decode("latin-1")

    def beginning(self, prefix: bytes) -> dict[str, str]:
        """The headers whose names begin so, without that beginning."""
        start = len(prefix)
        return {
            name[start:].decode("latin-1"): value.decode("latin-1")
            for name, value in self._raw.items()
            if name.startswith(prefix)
        }


async def read_body(headers: RequestHeaders, receive: Receive, hold: Hold, settings: GatewaySettings) -> bytes:
    """The whole body, decompressed. Raises Problem 400, 408, 413, 415 or 503, and ClientGone."""
    encoding = encodings.unpacker(headers.get(b"content-encoding"))
    announced = _content_length(headers)
    if announced is not None and announced > settings.max_body_bytes:
        raise _too_large(settings)
    hold.take(OVERHEAD + (announced or 0))
    try:
        async with asyncio.timeout(settings.read_timeout):
            body = await _read(receive, hold, announced, settings)
    except TimeoutError:
        raise slow_body(settings.read_timeout) from None
    return body if encoding is None else encodings.unpacked(body, encoding, settings.max_body_bytes, hold.take)


async def _read(receive: Receive, hold: Hold, announced: int | None, settings: GatewaySettings) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        if announced is None and chunk:
            size += len(chunk)
            if size > settings.max_body_bytes:
                raise _too_large(settings)
            hold.take(len(chunk))
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def slow_body(seconds: float) -> Problem:
    """The answer to who takes too long with a body."""
    return Problem(408, "slow-body", f"The body was not complete after {seconds:g} s", headers={"connection": "close"})


def _content_length(headers: RequestHeaders) -> int | None:
    text = headers.get(b"content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Problem(400, "content-length", "Content-Length is no number")
    return int(text[:20])


def _too_large(settings: GatewaySettings) -> Problem:
    detail = f"A body may have {settings.max_body_bytes} bytes; send fewer events at a time"
    return Problem(413, "body-too-large", detail, headers={"connection": "close"})
