"""Where there is no room for a request it waits for a moment, and is then refused by an answer that is made once.

To refuse is not much cheaper than to take, so a crowd that sends again at once would use up the worker with refusals. A
connection's next request comes after the answer to its last: to answer late is the one brake that a server has. The wait is
bounded by time, not by a number: as many of those who wait find room as the worker can take in that time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ingest_gateway import problems
from ingest_gateway.browsers import HEADERS
from ingest_gateway.problems import Problem, unavailable

WAIT = 0.025  # seconds at most, beside what the worker takes to come round: well below what anybody waits before they send again
TICK = 0.005  # seconds; those whose time is up within one are refused together

_NAME = "request-id"  # stands where the request's own goes


def no_room(retry_after: int) -> Problem:
    """As many requests are under way as may be."""
    detail = "The gateway has as many requests under way as it may; send again"
    return unavailable("overloaded", detail, retry_after)


class Waiting(Protocol):
    """A request whose body is complete, and for which there is no room yet."""

    response_complete: bool

    def proceed(self) -> None:
        """There is room."""

    def turn_away(self, refusal: "Refusal") -> None:
        """There was none in time."""


class Refusal:
    """The answer's bytes, around the request's name."""

    def __init__(self, retry_after: int) -> None:
        problem = no_room(retry_after)
        before, _, after = problem.document(_NAME).partition(_NAME.encode())
        given = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        lines = [(b"content-type", problems.CONTENT_TYPE), *given, *HEADERS]
        self._head = b"".join([b"%s: %s\r\n" % line for line in lines]) + b"content-length: %d\r\nx-request-id: %s\r\n"
        self._body = before.replace(b"%", b"%%") + b"%s" + after.replace(b"%", b"%%")
        self._size = len(before) + len(after)

    def answer(self, name: str) -> tuple[bytes, bytes]:
        """Header lines and body for a request of this name."""
        encoded = name.encode()
        return self._head % (self._size + len(encoded), encoded), self._body % encoded


class WaitingRoom:
    """Requests in the order in which they came. As many as there are connections at most: each has one that waits."""

    def __init__(self, retry_after: int, has_room: Callable[[], bool]) -> None:
        self._refusal = Refusal(retry_after)
        self._has_room = has_room
        self._waiting: deque[tuple[float, Waiting]] = deque()  # since when
        self._waking = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, request: Waiting) -> None:
        """Wait for room, behind those who do already."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(WAIT, self._refuse)
        self._waiting.append((time.monotonic(), request))

    def wake(self) -> None:
        """Somebody has left. Those who wait come in when the caller is done."""
        if self._waiting and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._admit)

    def _admit(self) -> None:
        self._waking = False
        while self._waiting and self._has_room():
            _, request = self._waiting.popleft()
            if not request.response_complete:  # its client is still there
                request.proceed()

    def _refuse(self) -> None:
        """Refuse those who have waited long enough, and come again for the others."""
        late = time.monotonic() - WAIT + TICK
        while self._waiting and self._waiting[0][0] <= late:
            _, request = self._waiting.popleft()
            if not request.response_complete:
                request.turn_away(self._refusal)
        if self._waiting:
            asyncio.get_running_loop().call_later(self._waiting[0][0] - late, self._refuse)
