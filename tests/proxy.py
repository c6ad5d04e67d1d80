"""A TCP proxy before Kafka that makes the way there slow, narrow or one-way. The broker itself is the real one."""

import asyncio
import contextlib
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIECE = 64 << 10


class Proxy:
    """Its attributes may be set at any time. Kafka tells clients its own address, so that is replaced in what it answers."""

    def __init__(self, host: str, port: int) -> None:
        self.delay = 0.0  # seconds that each piece of an answer takes longer
        self.rate: float | None = None  # bytes a second towards Kafka, of each connection
        self.deaf = False  # answers are lost: what was asked is done, and nobody learns of it
        self.port = 0
        self._kafka = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def sever(self) -> None:
        """End every connection, in mid-word."""
        self._loop.call_soon_threadsafe(self._abort)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._passing, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        self._abort()

    def _abort(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _passing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_kafka, to_kafka = await asyncio.open_connection(*self._kafka)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, to_kafka}
        self._open |= both
        try:
            ways = [
                asyncio.create_task(self._ask(reader, to_kafka)),
                asyncio.create_task(self._answer(from_kafka, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._open -= both
            for one in both:
                one.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE if self.rate is None else 4096):
            if self.rate is not None:
                await asyncio.sleep(len(piece) / self.rate)
            writer.write(piece)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = (self._kafka[0].encode() + struct.pack(">i", port) for port in (self._kafka[1], self.port))
        while piece := await reader.read(PIECE):
            await asyncio.sleep(self.delay)
            if not self.deaf:
                writer.write(piece.replace(theirs, ours))
                await writer.drain()

    def run(self) -> None:
        """Serve until `close`, in a thread of its own."""
        self._loop.run_until_complete(self._serve())
        with contextlib.suppress(RuntimeError):
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def await_ready(self) -> None:
        """Until it listens."""
        assert self._ready.wait(20)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._end.set)


@contextmanager
def running_proxy(kafka: str) -> Iterator[Proxy]:
    """A proxy before `HOST:PORT`."""
    host, _, port = kafka.rpartition(":")
    proxy = Proxy(host, int(port))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    proxy.await_ready()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(20)
