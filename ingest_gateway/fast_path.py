"""The usual request, answered without a task, messages and routing: they are most of what a single event would cost.

Usual is: a small body whose length is told, to a stream that is served, from a caller who is known at once, while Kafka is
there. Whatever else comes goes to the ASGI application, which can do all of it; what is asked and answered is the same.
"""

import re
import time

from starlette.types import Scope

from ingest_gateway.acknowledge import at_once, rescued
from ingest_gateway.bodies import MULTIPART
from ingest_gateway.browsers import HEADERS
from ingest_gateway.cycle import Cycle, Line
from ingest_gateway.delivery import NotAcknowledged
from ingest_gateway.gateway import Gateway
from ingest_gateway.ids import request_id
from ingest_gateway.intake import OVERHEAD, RequestHeaders
from ingest_gateway.keys import partitions
from ingest_gateway.overload import Refusal
from ingest_gateway.problems import Problem
from ingest_gateway.streams import Served
from ingest_gateway.submit import (
    Answer,
    Asked,
    Submission,
    answer,
    count_failed,
    count_written,
    observe,
    refusal,
    submitted,
    write,
)
from ingest_gateway.verdicts import NOWHERE

MOST_BODY = 64 << 10  # bytes; beside a larger one's own costs, those of a task are little
UNUSUAL = frozenset((b"content-encoding", b"expect", b"origin", b"transfer-encoding", b"upgrade"))
_SHORT = re.compile(r"[0-9]{1,6}\Z")
_SECURITY = b"".join(b"%s: %s\r\n" % pair for pair in HEADERS)


class FastPath:
    """Tells which requests are usual."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def exchange(self, line: Line, path: bytes, scope: Scope) -> "Exchange | None":
        """What begins with a POST's headers, or None where it isn't usual. `path` is as sent, with the query if there is one."""
        gateway = self._gateway
        served = gateway.streams.by_path.get(path)
        if served is None or gateway.access.issuer is not None:
            return None
        headers = RequestHeaders(scope["headers"])
        length = headers.get(b"content-length") or ""
        if not _SHORT.match(length) or int(length) > MOST_BODY:
            return None
        if not headers.isdisjoint(UNUSUAL):
            return None
        try:
            asked = Asked.by(headers, b"")
        except Problem:
            return None
        if asked.kind == MULTIPART:
            return None
        held = OVERHEAD + int(length)
        if not gateway.budget.take(held):
            return None
        return Exchange(gateway, line, served, headers, asked, scope, held)


class Exchange(Cycle):
    """A request and its answer."""

    __slots__ = (
        "_asked", "_begun", "_chosen", "_chunks", "_gateway", "_headers", "_held", "_limits", "_name", "_offsets", "_served",
        "_submission",
    )  # fmt: skip

    def __init__(
        self,
        gateway: Gateway,
        line: Line,
        served: Served,
        headers: RequestHeaders,
        asked: Asked,
        scope: Scope,
        held: int,
    ) -> None:
        super().__init__(line, scope)
        self._gateway = gateway
        self._served = served
        self._headers = headers
        self._asked = asked
        self._held = held
        self._begun = False
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """A piece of the body."""
        self._chunks.append(chunk)

    def abandon(self) -> None:
        """The body will never be complete, or nobody waits for the answer to what has not begun."""
        if not (self._begun or self.response_complete):
            self.response_complete = True
            self._gateway.budget.give(self._held)

    def begin(self) -> None:
        """The body is complete: go on, or wait for room."""
        self.more_body = False
        gateway = self._gateway
        self._name = request_id(self._headers.get(b"x-request-id"))
        if gateway.is_full or gateway.waiting:
            gateway.waiting.enter(self)
        else:
            self.proceed()

    def turn_away(self, refusal: Refusal) -> None:
        """There was no room in time."""
        self.response_complete = True
        self._gateway.budget.give(self._held)
        head, body = refusal.answer(self._name)
        self._line.reply(503, head, body, self.keep_alive)
        observe(503, time.perf_counter() - self._started)

    def proceed(self) -> None:
        """Judge the events, and hand over what is good."""
        self._begun = True
        gateway, headers, served = self._gateway, self._headers, self._served
        gateway.requests += 1
        chunks = self._chunks
        try:
            caller, self._limits = gateway.enter_at_once(self._scope, headers, served.stream.name)
            gateway.require_room()
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            submission, more = submitted(body, None, self._asked, headers, self._scope, served, gateway, caller)
        except Exception as failure:
            self._refuse(failure)
            return
        self._submission = submission
        self._limits = (*self._limits, *more)
        records = submission.records
        if records is None:
            self._answer(answer(submission, NOWHERE, self._asked.wanted, self._limits))
        elif count := at_once(served, gateway):
            self._chosen = partitions(records.keys, count)
            self._offsets = gateway.producer.enqueue(served.topic, self._chosen, records, self._done).offsets
        else:
            self._line.spawn(self._wait(submission))

    def _done(self, failure: NotAcknowledged | None) -> None:
        if failure is not None:
            self._line.spawn(self._rescue(failure))
            return
        submission, placed = self._submission, (self._chosen, self._offsets)
        count_written(submission, placed, self._gateway)
        try:
            self._answer(answer(submission, placed, self._asked.wanted, self._limits))
        except Exception as unexpected:
            # The producer calls one after the other; what goes wrong with this answer is not to reach the next.
            self._refusal(unexpected)
            self._line.cut()

    async def _rescue(self, failure: NotAcknowledged) -> None:
        submission, gateway = self._submission, self._gateway
        assert submission.records is not None
        try:
            await rescued(failure, self._served, submission.records, gateway)
            count_written(submission, None, gateway)
        except Exception as refused:
            count_failed(submission, gateway)
            self._refuse(refused)
        else:
            self._answer(answer(submission, None, self._asked.wanted, self._limits))

    async def _wait(self, submission: Submission) -> None:
        """As the application does: Kafka went away while the body came."""
        try:
            placed = await write(submission, self._gateway)
        except Exception as failure:
            self._refuse(failure)
        else:
            self._answer(answer(submission, placed, self._asked.wanted, self._limits))

    def _refuse(self, failure: Exception) -> None:
        self._answer(self._refusal(failure))

    def _refusal(self, failure: Exception) -> Answer:
        return refusal(failure, self._scope["path"], self._headers, self._name, self._gateway.access)

    def _answer(self, made: Answer) -> None:
        status, body, extra = made
        self.response_complete = True
        self._release()
        head = b"".join([b"%s: %s\r\n" % pair for pair in extra])
        sizes = b"content-length: %d\r\nx-request-id: %s\r\n" % (len(body), self._name.encode())
        keep_alive = self.keep_alive and (status < 400 or (b"connection", b"close") not in extra)
        self._line.reply(status, head + _SECURITY + sizes, body, keep_alive)
        observe(status, time.perf_counter() - self._started)

    def _release(self) -> None:
        self._gateway.budget.give(self._held)
        self._gateway.leave()
