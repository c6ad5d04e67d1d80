"""A request under way, as uvicorn's connection sees it."""

import time
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, Protocol

from starlette.types import Scope

_NOBODY_WAITS = SimpleNamespace(set=lambda: None)


class Line(Protocol):
    """The connection that a request came by."""

    def reply(self, status: int, head: bytes, body: bytes, keep_alive: bool) -> None:
        """Send the answer, if anybody is there. `head`: header lines, each with its end."""

    def cut(self) -> None:
        """End the connection without a word."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what takes time; the server does not end before it."""


class Cycle:
    """The public attributes are those that uvicorn's connection looks for."""

    __slots__ = (
        "_line", "_scope", "_started", "disconnected", "keep_alive", "message_event", "more_body", "response_complete",
    )  # fmt: skip

    def __init__(self, line: Line, scope: Scope) -> None:
        self._started = time.perf_counter()
        self._line = line
        self._scope = scope
        self.message_event = _NOBODY_WAITS
        self.keep_alive = True
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    @property
    def waits(self) -> bool:
        """Whether more of the body is to come."""
        return self.more_body and not self.response_complete
