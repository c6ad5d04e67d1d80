"""`python -m infra.bench.gateway.load JOB`: load on one address from a process of its own, figures as one line of JSON.

It shares the machine with what it measures, so it does as little as it can: requests are bytes that were put together before,
and of an answer it reads the status and where it ends. Closed: each connection sends the next request when it has the answer to
the last. Open: requests come at random times (Poisson) at a given rate, whatever became of those before, so that a queue shows.
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from infra.bench.gateway.shapes import SHAPES, bodies

SETTLE = 0.3  # seconds for the server to take the connections, which the system has opened by then
TICK = 0.001  # seconds; arrivals of one tick go out together
PATIENCE = 30.0  # seconds, for the answers to what is under way at the end


@dataclass(frozen=True)
class Job:
    """`rate` is None for a closed loop. With `drop`, what finds no connection free is not sent instead of waiting for one."""

    port: int
    stream: str
    shape: str
    seconds: float
    connections: int
    rate: float | None = None
    drop: bool = False


@dataclass
class Tally:
    """Seconds from sending to the answer, and from when it was due, by status."""

    sent: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    due: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0  # connections that ended before the answer
    dropped: int = 0


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._answer = b""
        self._due = self._started = 0.0
        self._transport: asyncio.Transport | None = None
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way out."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due then."""
        assert self._transport is not None
        self._busy, self._due, self._started = True, due, time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read on, up to the end of the answer."""
        answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        place = answer.find(b"content-length: ", 0, head)
        if head < 0 or len(answer) < head + 4 + int(answer[place + 16 : answer.index(b"\r", place)]):
            self._answer = answer
            return
        self._answer = b""
        self._busy = False
        now, status, tally = time.perf_counter(), int(answer[9:12]), self._load.tally
        tally.sent[status].append(now - self._started)
        tally.due[status].append(now - self._due)
        self._load.free(self, now)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that it is gone."""
        self._load.gone(self, self._busy)

    def close(self) -> None:
        """No more requests."""
        if self._transport is not None:
            self._transport.close()


class Load:
    """Connections, and when each sends."""

    def __init__(self, job: Job, requests: list[bytes]) -> None:
        self.tally = Tally()
        self._job = job
        self._requests = itertools.cycle(requests)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting: deque[float] = deque()  # when they were due
        self._opening = 0
        self._until = 0.0

    async def run(self) -> float:
        """Send for as long as the job says, and wait for the answers. Returns how long that took."""
        for _ in range(self._job.connections):
            await self._open()
        await asyncio.sleep(SETTLE)
        started = time.perf_counter()
        self._until = started + self._job.seconds
        if self._job.rate is None:
            for connection in list(self._all):
                connection.send(next(self._requests), time.perf_counter())
            await asyncio.sleep(self._job.seconds)
        else:
            await self._arrivals(started, self._job.rate)
        return await self._ended(started)

    def free(self, connection: Connection, now: float) -> None:
        """It has its answer."""
        if self._waiting:
            connection.send(next(self._requests), self._waiting.popleft())
        elif self._job.rate is None and now < self._until:
            connection.send(next(self._requests), now)
        else:
            self._idle.append(connection)

    def gone(self, connection: Connection, busy: bool) -> None:
        """The other side ended it: as a client would, come again."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self.tally.lost += busy
        if time.perf_counter() < self._until and self._opening < 100:
            self._opening += 1
            asyncio.get_running_loop().create_task(self._again())

    async def _arrivals(self, started: float, rate: float) -> None:
        draw, due = random.Random(11), started
        while due < self._until:
            now = time.perf_counter()
            while due <= now and due < self._until:
                self._arrive(due)
                due += draw.expovariate(rate)
            await asyncio.sleep(TICK)

    def _arrive(self, due: float) -> None:
        if self._idle:
            self._idle.pop().send(next(self._requests), due)
        elif self._job.drop:
            self.tally.dropped += 1
        else:
            self._waiting.append(due)

    async def _ended(self, started: float) -> float:
        async with asyncio.timeout(PATIENCE):
            while self._waiting or len(self._idle) < len(self._all):  # noqa: ASYNC110 - a signal would cost each answer
                await asyncio.sleep(TICK)
        took = time.perf_counter() - started
        self._until = 0.0
        for connection in list(self._all):
            connection.close()
        return took

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._job.port)
        self._all.add(connection)
        if self._job.rate is not None:
            self._idle.append(connection)

    async def _again(self) -> None:
        try:
            await self._open()
        except OSError:
            self.tally.lost += 1
        finally:
            self._opening -= 1


def figures(job: Job, tally: Tally, took: float) -> dict[str, Any]:
    """Counts, rates and times in ms, by status."""
    answered = sum(map(len, tally.sent.values()))
    accepted = len(tally.sent[202]) * SHAPES[job.shape].events
    return {
        "seconds": took,
        "requests": answered,
        "requests_per_s": answered / took,
        "accepted_events": accepted,
        "accepted_events_per_s": accepted / took,
        "statuses": {str(status): len(times) for status, times in sorted(tally.sent.items()) if times},
        "from_sending_ms": {str(status): _spread(times) for status, times in sorted(tally.sent.items()) if times},
        "from_due_ms": {str(status): _spread(times) for status, times in sorted(tally.due.items()) if times},
        "dropped": tally.dropped,
        "lost": tally.lost,
        "cpu_s": time.process_time(),
    }


def _spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    places = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 for name, share in places.items()}


def main(job: Job) -> None:
    """Run the job and print its figures."""
    kind = SHAPES[job.shape].content_type
    head = (
        f"POST /v1/streams/{job.stream}/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\ncontent-length: "
    )
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies(job.shape)]

    async def run() -> tuple[Tally, float]:
        load = Load(job, requests)
        return load.tally, await load.run()

    tally, took = uvloop.run(run())
    print(json.dumps(figures(job, tally, took)))


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
