"""An object store that fails now and then: a proxy before MinIO that refuses, delays or cuts off some calls."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from random import Random
from urllib.parse import urlsplit

METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
FULL = b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend is full.</Message></Error>"


class FlakyStore:
    """`trouble`: the share of calls that fail; `full`: every write is refused. Both may change at any time.

    A client waits for an answer before it asks again, so what begins with a method is a new call.
    """

    def __init__(self, endpoint: str, random: Random) -> None:
        parts = urlsplit(endpoint)
        self._store = (parts.hostname, parts.port)
        self._random = random
        self.trouble = 0.0
        self.full = False
        self.failed = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        store_reader, store = await asyncio.open_connection(*self._store)
        answers = asyncio.create_task(_pump(store_reader, writer))
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if data.startswith(METHODS) and not await self._passes(data, store, writer):
                    break
                store.write(data)
                await store.drain()
        answers.cancel()
        for end in (store, writer):
            end.close()

    async def _passes(self, data: bytes, store: asyncio.StreamWriter, client: asyncio.StreamWriter) -> bool:
        if self.full and data.startswith((b"PUT ", b"POST ")):
            self.failed += 1
            await _answer(client, b"507 Insufficient Storage", FULL)
            return False
        if self._random.random() >= self.trouble:
            return True
        self.failed += 1
        match self._random.choice(("refused", "slow", "cut", "answer lost")):
            case "refused":
                await _answer(client, b"503 Slow Down", BUSY)
            case "slow":
                await asyncio.sleep(self._random.uniform(0.5, 3))
                return True
            case "answer lost":  # it is done, and the client is not told
                store.write(data)
                await store.drain()
        return False


@contextmanager
def flaky_store(endpoint: str, random: Random) -> Iterator[tuple[FlakyStore, str]]:
    """The proxy, and its address."""
    store, started, over = FlakyStore(endpoint, random), Future[int](), threading.Event()

    async def serve() -> None:
        async with await asyncio.start_server(store.serve, "127.0.0.1", 0) as server:
            started.set_result(server.sockets[0].getsockname()[1])
            await asyncio.to_thread(over.wait)
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="flaky store", daemon=True)
    thread.start()
    try:
        yield store, f"http://127.0.0.1:{started.result(10)}"
    finally:
        over.set()
        thread.join(10)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    sink.close()


async def _answer(client: asyncio.StreamWriter, status: bytes, body: bytes) -> None:
    client.write(b"HTTP/1.1 %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                 % (status, len(body), body))  # fmt: skip
    await client.drain()
