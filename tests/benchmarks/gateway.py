"""Requests and events a second through a running gateway, beside a bare Starlette echo under the same server.

`python -m tests.benchmarks.gateway --json`, with SLUICE_GATEWAY_URL naming a gateway that serves the stream `orders`. The
broker, the gateway and this load generator share the machine: figures are comparable within a run only.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

from catalog.settings import lake_settings

JSON, LINES = "application/json", "application/x-ndjson"
PATH = "/v1/streams/orders/events"
ECHO = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def echo(request):
    return Response(await request.body(), media_type="application/json")
uvicorn.run(Starlette(routes=[Route("/v1/streams/{stream}/events", echo, methods=["POST"])]), host="127.0.0.1",
            port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="error")
"""


@dataclass(frozen=True)
class Figures:
    """Of one run: requests and events a second, and the times of single requests in milliseconds."""

    requests_per_s: float
    events_per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]


class _Client(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the answer to the last is complete."""

    def __init__(self, requests: list[bytes], until: float, times: list[float], statuses: dict[int, int]) -> None:
        self._requests = requests
        self._until = until
        self._times = times
        self._statuses = statuses
        self._answer = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self._answer.lower().index(b"content-length:", 0, head) + 15
        length = int(self._answer[start : self._answer.index(b"\r", start)])
        if len(self._answer) < head + 4 + length:
            return
        now = time.perf_counter()
        status = int(self._answer[9:12])
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._times.append(now - self._started)
        self._answer.clear()
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(random.choice(self._requests))


async def _load(url: str, bodies: list[bytes], kind: str, events: int, connections: int, seconds: float) -> Figures:
    place = urlsplit(url)
    head = f"POST {PATH} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: {kind}\r\ncontent-length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    times: list[float] = []
    statuses: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = [
        (await loop.create_connection(
            lambda: _Client(requests, started + seconds, times, statuses), place.hostname or "127.0.0.1", place.port or 80))[1]
        for _ in range(connections)
    ]  # fmt: skip
    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - started
    ordered = sorted(times)
    rate = len(times) / took
    return Figures(
        requests_per_s=round(rate),
        events_per_s=round(rate * events),
        p50_ms=round(ordered[len(ordered) // 2] * 1000, 2),
        p99_ms=round(ordered[len(ordered) * 99 // 100] * 1000, 2),
        statuses=statuses,
    )


def _order(size: int) -> bytes:
    order = {
        "order_id": str(uuid.uuid4()),
        "product_id": f"WHEY{random.randrange(1000):03d}",
        "quantity": random.randrange(1, 9),
        "timestamp": "2026-05-05T12:13:14.123Z",
    }
    bare = len(json.dumps({**order, "note": ""}))
    return json.dumps({**order, "note": "x" * (size - bare)}).encode()


def run(url: str, connections: int, seconds: float) -> dict[str, object]:
    """Singles of 1 KB and NDJSON batches of 100 × 300 bytes, through the gateway and through the echo."""
    singles = [_order(1000) for _ in range(200)]
    batches = [b"\n".join(_order(300) for _ in range(100)) for _ in range(50)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    echo = subprocess.Popen([sys.executable, "-c", ECHO, str(port)])
    try:
        _answers(port)
        figures = {}
        for name, target in (("echo", f"http://127.0.0.1:{port}"), ("gateway", url)):
            for shape, bodies, kind, events in (("singles", singles, JSON, 1), ("batches", batches, LINES, 100)):
                uvloop.run(_load(target, bodies, kind, events, connections, min(1.0, seconds)))  # warm
                figures[f"{name}_{shape}"] = uvloop.run(_load(target, bodies, kind, events, connections, seconds))
    finally:
        echo.terminate()
        echo.wait()
    return {
        **{name: vars(figure) for name, figure in figures.items()},
        "singles_ratio_to_echo": round(
            figures["gateway_singles"].requests_per_s / figures["echo_singles"].requests_per_s, 2
        ),
    }


def _answers(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the echo server did not start within 20 s")


def main() -> None:
    """Print one JSON object, or a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    os.environ.setdefault("SLUICE_GATEWAY_URL", lake_settings().gateway_url)
    result = run(os.environ["SLUICE_GATEWAY_URL"], options.connections, options.seconds)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
