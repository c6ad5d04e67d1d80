"""A client of the gateway: batches of events in, a verdict for each out. What is not acknowledged is sent again, same ids.

>>> with Client("http://127.0.0.1:8000", "orders") as client:
...     verdicts = client.send([Event("7c0e…", b'{"order_id": …}')])
"""

import asyncio
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import msgspec
import orjson

from catalog.errors import SluiceError
from catalog.trust import trusted

BATCH = "application/cloudevents-batch+json"
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Event:
    """An event to send. `payload` is one JSON text; `id` is what tells it from others and from itself, sent again."""

    id: str
    payload: bytes


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with an event: a JSON pointer into its payload, and a reason."""

    pointer: str
    message: str


class Verdict(msgspec.Struct, frozen=True):
    """What became of an event. `accepted` and `spooled` are promises that it is kept; `refused` has `errors`."""

    id: str
    status: Literal["accepted", "spooled", "refused"]
    partition: int | None = None
    offset: int | None = None
    errors: tuple[Fault, ...] = ()

    @property
    def taken(self) -> bool:
        """Whether the gateway promised to keep it."""
        return self.status != "refused"


class _Receipt(msgspec.Struct):
    events: list[Verdict]


class GatewayAway(SluiceError):
    """The gateway did not acknowledge in time. The same events may be sent again."""


@dataclass(frozen=True)
class Retry:
    """How long to insist: `patience` seconds over all tries of one batch, waits doubling from `first` to `longest` seconds."""

    patience: float = 60.0
    first: float = 0.2
    longest: float = 10.0

    def wait(self, tries: int, asked: float | None, dice: Callable[[], float] = random.random) -> float:
        """Seconds before the next try: what the server asked for at least, and some jitter so that clients part."""
        backoff = min(self.longest, self.first * 2.0 ** min(tries, 20)) * (0.5 + dice() / 2)
        return max(backoff, asked * (1 + dice() / 10)) if asked is not None else backoff


@dataclass(frozen=True)
class _Post:
    content: bytes


@dataclass(frozen=True)
class _Pause:
    seconds: float


_Reply = httpx.Response | httpx.TransportError | None
_Talk = Generator[_Post | _Pause, _Reply, list[Verdict]]


@dataclass
class _Protocol:
    """What to post and what an answer means, without any input or output: both clients drive it."""

    url: str
    stream: str
    source: str = "/sluice/client"
    key: str | None = None
    ca: Path | None = None
    retry: Retry = field(default_factory=Retry)
    on_wait: Callable[[str, float], None] | None = None
    clock: Callable[[], float] = time.monotonic

    @property
    def address(self) -> str:
        return f"{self.url.rstrip('/')}/v1/streams/{self.stream}/events"

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": BATCH} | ({"authorization": f"Bearer {self.key}"} if self.key else {})

    def talk(self, events: Sequence[Event]) -> _Talk:
        """Yields what to do next and is sent what came of it. Raises GatewayAway or SluiceError."""
        if not events:
            return []
        content, deadline, tries = self._body(events), self.clock() + self.retry.patience, 0
        while True:
            reply = yield _Post(content)
            assert reply is not None
            if isinstance(reply, httpx.Response):
                if reply.status_code in (202, 207, 422):
                    return self._verdicts(reply, events)
                if reply.status_code == 413 and len(events) > 1:
                    half = len(events) // 2
                    return [*(yield from self.talk(events[:half])), *(yield from self.talk(events[half:]))]
                if reply.status_code == 413:
                    return [Verdict(events[0].id, "refused", errors=(Fault("", _detail(reply)),))]
                if reply.status_code not in TRANSIENT:
                    raise SluiceError(f"{self.address} answered {reply.status_code}: {_detail(reply)}")
            if "CERTIFICATE_VERIFY_FAILED" in str(reply):
                raise SluiceError(
                    f"{self.url} shows a certificate that is not believed ({reply}): name the authority that signed it in "
                    "SLUICE_GATEWAY_CA"
                )
            reason, asked = _trouble(reply)
            wait = self.retry.wait(tries, asked)
            if self.clock() + wait > deadline:
                raise GatewayAway(f"{self.url}: {reason} (tried {tries + 1} times in {self.retry.patience:g} s)")
            if self.on_wait is not None:
                self.on_wait(reason, wait)
            tries += 1
            yield _Pause(wait)

    def _body(self, events: Sequence[Event]) -> bytes:
        # The payloads go in as they are: what was read is what bronze holds.
        fixed = orjson.dumps({"specversion": "1.0", "source": self.source, "type": self.stream})[:-1]
        return b"[%b]" % b",".join(
            b'%b,"id":%b,"data":%b}' % (fixed, orjson.dumps(event.id), event.payload) for event in events
        )

    def _verdicts(self, reply: httpx.Response, events: Sequence[Event]) -> list[Verdict]:
        try:
            verdicts = msgspec.json.decode(reply.content, type=_Receipt).events
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise SluiceError(f"{self.address} answered {reply.status_code}: {_detail(reply)}") from None
        # An event that the gateway could not even parse has no id there; it is known by its place.
        verdicts = [
            v if v.taken else msgspec.structs.replace(v, id=e.id) for v, e in zip(verdicts, events, strict=False)
        ] + verdicts[len(events) :]
        if [v.id for v in verdicts] != [e.id for e in events]:
            raise SluiceError(
                f"{self.address}: the answer does not speak of the events that were sent: is it a Sluice gateway?"
            )
        return [_in_payload(verdict) if verdict.errors else verdict for verdict in verdicts]


class Client:
    """Sends batches one after the other. Raises SluiceError; GatewayAway where trying again later makes sense."""

    def __init__(self, url: str, stream: str, *, timeout: float = 60.0, **options: Any) -> None:
        self._protocol = _Protocol(url, stream, **options)
        self._http = httpx.Client(
            timeout=timeout, headers=self._protocol.headers, verify=trusted(self._protocol.ca, "SLUICE_GATEWAY_CA")
        )

    def send(self, events: Sequence[Event]) -> list[Verdict]:
        """A verdict for each event, in order."""
        talk = self._protocol.talk(events)
        reply: _Reply = None
        while True:
            try:
                step = talk.send(reply)
            except StopIteration as end:
                return list(end.value)
            if isinstance(step, _Pause):
                time.sleep(step.seconds)
                reply = None
                continue
            try:
                reply = self._http.post(self._protocol.address, content=step.content)
            except httpx.TransportError as failure:
                reply = failure

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """As `Client`, for many batches at a time."""

    def __init__(self, url: str, stream: str, *, timeout: float = 60.0, **options: Any) -> None:
        self._protocol = _Protocol(url, stream, **options)
        self._http = httpx.AsyncClient(
            timeout=timeout, headers=self._protocol.headers, verify=trusted(self._protocol.ca, "SLUICE_GATEWAY_CA")
        )

    async def send(self, events: Sequence[Event]) -> list[Verdict]:
        """A verdict for each event, in order."""
        talk = self._protocol.talk(events)
        reply: _Reply = None
        while True:
            try:
                step = talk.send(reply)
            except StopIteration as end:
                return list(end.value)
            if isinstance(step, _Pause):
                await asyncio.sleep(step.seconds)
                reply = None
                continue
            try:
                reply = await self._http.post(self._protocol.address, content=step.content)
            except httpx.TransportError as failure:
                reply = failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()


def _in_payload(verdict: Verdict) -> Verdict:
    """The gateway points into the CloudEvent that was posted; the caller only knows what is in its `data`."""
    faults = (
        Fault(f.pointer.removeprefix("/data"), f.message) if f"{f.pointer}/".startswith("/data/") else f
        for f in verdict.errors
    )
    return msgspec.structs.replace(verdict, errors=tuple(faults))


def _trouble(reply: httpx.Response | httpx.TransportError) -> tuple[str, float | None]:
    """Why a try came to nothing, and the seconds that the server asked to wait."""
    if isinstance(reply, httpx.ConnectError):
        return "nothing answers there", None
    if isinstance(reply, httpx.TimeoutException):
        return "no answer in time", None
    if isinstance(reply, httpx.TransportError):
        return f"the connection broke ({type(reply).__name__})", None
    return f"{reply.status_code}, {_detail(reply)}", _retry_after(reply.headers.get("retry-after"))


def _retry_after(header: str | None) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


def _detail(reply: httpx.Response) -> str:
    """What an error's body says: the detail of a problem document, else its beginning."""
    try:
        problem = orjson.loads(reply.content)
        return str(problem.get("detail") or problem["title"])
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        return " ".join(reply.text.split())[:200] or reply.reason_phrase
