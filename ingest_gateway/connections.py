"""Connections of those who are slow, loud or many: uvicorn's HTTP protocol with time-outs and bounds that it has not."""

import asyncio
import resource
import socket
import struct
from collections import Counter
from collections.abc import Coroutine
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingest_gateway import problems
from ingest_gateway.addresses import counted, is_trusted, networks
from ingest_gateway.ids import request_id
from ingest_gateway.intake import slow_body
from ingest_gateway.metrics import CONNECTIONS, TURNED_AWAY
from ingest_gateway.problems import Problem
from ingest_gateway.settings import GatewaySettings, gateway_settings

if TYPE_CHECKING:
    from ingest_gateway.fast_path import Exchange, FastPath

MOST_HEAD = 64 << 10  # bytes of a request's line and headers
SPARE_FILES = 256  # beside connections: Kafka, logs, the spool


_OPEN: Counter[str] = Counter()  # connections by address, of those that are counted


@cache
def _settings() -> GatewaySettings:
    return gateway_settings()  # uvicorn makes the protocol, and gives it nothing of ours


def allow_connections(settings: GatewaySettings) -> None:
    """Raise the process's limit of open files to what the connections need, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Connection(HttpToolsProtocol):
    """One connection. A timer looks at it now and then, so that a request costs no timer of its own."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse where there are too many connections."""
        super().connection_made(transport)
        CONNECTIONS.inc()
        self._fast_path: FastPath | None = getattr(self.app, "fast_path", None)
        self._exchange: Exchange | None = None  # the request under way, where it is a usual one
        limits = _settings()
        self._patience = limits.header_timeout
        self._read_timeout = limits.read_timeout
        self._pace = min(self._patience, self._read_timeout)  # seconds between two looks
        self._head_since = self.loop.time()  # when the request began whose headers are not complete; else infinity
        self._head_size = 0
        self._heads = 0  # that were complete
        self._overdue: Any = None  # what was there at the last look and must be gone at the next
        self._timer = self.loop.call_at(self._head_since + self._pace, self._look)
        if len(self.connections) > limits.max_connections:
            detail = f"The gateway has {limits.max_connections} connections, as many as it may; come back"
            self._refuse(problems.unavailable("too-many-connections", detail, limits.retry_after))
        self._address = self._count(limits)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._timer.cancel()
        CONNECTIONS.dec()
        if self._address is not None:
            _OPEN[self._address] -= 1
            if not _OPEN[self._address]:
                del _OPEN[self._address]
        super().connection_lost(exc)
        if self._exchange is not None:
            self._exchange.abandon()

    def data_received(self, data: bytes) -> None:
        """Read on. Headers are bounded: the parser would keep any number of them."""
        heads = self._heads
        super().data_received(data)
        if heads == self._heads and self._head_since != inf:
            self._head_size += len(data)
            if self._head_size > MOST_HEAD:
                self._refuse(Problem(431, "headers-too-large", f"A request's headers may have {MOST_HEAD} bytes"))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_since = self.loop.time()
        self._head_size = 1

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self._head_since = inf
        self._heads += 1
        self._exchange = exchange = self._usual()
        if exchange is None:
            super().on_headers_complete()
        else:
            self._body_since = self.loop.time()
            self.cycle = exchange  # type: ignore[assignment]  # has what this class's base looks for

    def on_body(self, body: bytes) -> None:
        """A piece of its body is there."""
        if self._exchange is not None:
            self._exchange.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is complete."""
        if self._exchange is not None:
            self._exchange.begin()
        else:
            super().on_message_complete()

    def _usual(self) -> "Exchange | None":
        parser = self.parser
        if self._fast_path is None or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        if self.flow.write_paused or (self.cycle is not None and not self.cycle.response_complete):
            return None
        self.scope["path"] = self.url.decode("latin-1")
        exchange = self._fast_path.exchange(self, self.url, cast(Scope, self.scope))
        if exchange is not None:
            exchange.keep_alive = parser.should_keep_alive()
        return exchange

    def on_response_complete(self) -> None:
        """Wait for the next request, by the timer that is there: the base would start one and stop it again each time."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self.cycle.more_body:
            self._head_since = self.loop.time()
            self._head_size = 0

    def reply(self, status: int, head: bytes, body: bytes, keep_alive: bool) -> None:
        """Answer the exchange under way, if anybody is there."""
        transport = self.transport
        if not transport.is_closing():
            lines = [b"%s: %s\r\n" % pair for pair in self.server_state.default_headers]
            end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
            transport.write(b"".join([STATUS_LINE[status], *lines, head, end, body]))
            if not keep_alive:
                transport.close()
        self.on_response_complete()

    def cut(self) -> None:
        """End the connection without a word."""
        self.transport.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what takes time; a stop waits for it."""
        task = self.loop.create_task(work)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP gets a problem document too."""
        self._refuse(Problem(400, "not-http", "This is no HTTP/1.1 request that can be read"))

    def _count(self, limits: GatewaySettings) -> str | None:
        """The address under which the connection counts, or None where it does not: a proxy brings everybody's requests."""
        most = limits.max_connections_by_address
        peer = self.client[0] if self.client else ""
        if most is None or is_trusted(peer, networks(limits.trusted_proxies)):
            return None
        address = counted(peer)
        _OPEN[address] += 1
        if _OPEN[address] > most:
            detail = f"Your address has {most} connections, as many as it may; use those that are open"
            self._refuse(
                Problem(429, "connections-of-address", detail, headers={"retry-after": str(limits.retry_after)})
            )
        return address

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._head_since + self._patience <= now:
            if self._head_size:
                detail = f"The request's headers were not complete after {self._patience:g} s"
                self._refuse(Problem(408, "slow-headers", detail))
            self.transport.close()  # without a word where none came
            return
        if self._exchange is not None and self._exchange.waits and self._body_since + self._read_timeout <= now:
            self._refuse(slow_body(self._read_timeout))
            return
        overdue = self._stuck()
        if overdue is not None and overdue == self._overdue:
            self._cut()
            return
        self._overdue = overdue
        self._timer = self.loop.call_at(min(self._head_since, now) + self._pace, self._look)

    def _stuck(self) -> object:
        """Something that stays the same for as long as the client makes no progress; None while there is nothing to wait for."""
        waiting = self.transport.get_write_buffer_size()
        if waiting:
            return self.cycle, waiting  # it doesn't read its answer
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            return self.cycle, -1  # it was answered, and goes on sending the body
        return None

    def _cut(self) -> None:
        """End at once: a close alone would leave what the client doesn't read with the system, for minutes."""
        TURNED_AWAY.labels("no-progress").inc()
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _refuse(self, problem: Problem) -> None:
        """Answer and close, past the application."""
        if self.transport.is_closing():
            return
        TURNED_AWAY.labels(problem.slug).inc()
        body = problem.document(request_id(None))
        headers = {"content-type": problems.CONTENT_TYPE.decode(), "content-length": str(len(body)),
                   "connection": "close", "x-content-type-options": "nosniff", **problem.headers}  # fmt: skip
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
        self._head_since = inf
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body]))
        self.transport.close()
