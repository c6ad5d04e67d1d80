"""The answer to a request for which there is no room: made once, and held back for a moment.

To refuse is not much cheaper than to take, so a crowd that sends again at once would use up the worker with refusals. A
connection's next request comes after the answer to its last: to answer late is the one brake that a server has.
"""

import asyncio
import time

from starlette.types import Scope

from ingest_gateway import problems
from ingest_gateway.browsers import HEADERS
from ingest_gateway.cycle import Cycle, Line
from ingest_gateway.ids import request_id
from ingest_gateway.metrics import REQUESTS
from ingest_gateway.problems import Problem, unavailable

HOLD = 0.02  # seconds at most: well below what anybody waits before they send again

_observe = REQUESTS.labels("503").observe
_NAME = "request-id"  # stands where the request's own goes


def no_room(retry_after: int) -> Problem:
    """As many requests are under way as may be."""
    detail = "The gateway has as many requests under way as it may; send again"
    return unavailable("overloaded", detail, retry_after)


class Overload:
    """The answer's bytes around the request's name, and the requests that it is held back from."""

    def __init__(self, retry_after: int) -> None:
        problem = no_room(retry_after)
        before, _, after = problem.document(_NAME).partition(_NAME.encode())
        given = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        lines = [(b"content-type", problems.CONTENT_TYPE), *given, *HEADERS]
        self._head = b"".join([b"%s: %s\r\n" % line for line in lines]) + b"content-length: %d\r\nx-request-id: %s\r\n"
        self._body = before.replace(b"%", b"%%") + b"%s" + after.replace(b"%", b"%%")
        self._size = len(before) + len(after)
        self._held: list[Refusal] = []

    def hold(self, refusal: "Refusal") -> None:
        """Answer it with all others that come meanwhile."""
        if not self._held:
            asyncio.get_running_loop().call_later(HOLD, self._answer_all)
        self._held.append(refusal)

    def _answer_all(self) -> None:
        held, self._held = self._held, []
        for refusal in held:
            refusal.answer()

    def answer(self, name: str) -> tuple[bytes, bytes]:
        """Header lines and body for a request of this name."""
        encoded = name.encode()
        return self._head % (self._size + len(encoded), encoded), self._body % encoded


class Refusal(Cycle):
    """A request that is answered so when its body has been read over. As `fast_path.Exchange`, to the connection."""

    __slots__ = ("_overload",)

    def __init__(self, line: Line, overload: Overload, scope: Scope) -> None:
        super().__init__(line, scope)
        self._overload = overload

    def add(self, chunk: bytes) -> None:
        """A piece of the body, which nobody wants."""

    def abandon(self) -> None:
        """The body will never be complete, or nobody waits for the answer any more."""
        self.response_complete = True

    def begin(self) -> None:
        """The body is complete."""
        self.more_body = False
        self._overload.hold(self)

    def answer(self) -> None:
        """Say that there is no room, if anybody is there."""
        if self.response_complete:
            return
        self.response_complete = True
        given = next((value for name, value in self._scope["headers"] if name == b"x-request-id"), None)
        head, body = self._overload.answer(request_id(None if given is None else given.decode("latin-1")))
        self._line.reply(503, head, body, self.keep_alive)
        _observe(time.perf_counter() - self._started)
