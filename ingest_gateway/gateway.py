"""The state that lives as long as a worker: settings, streams, broker, producer, budget."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from starlette.types import Scope

from catalog.settings import LakeSettings
from ingest_gateway import tls
from ingest_gateway.access import Access
from ingest_gateway.broker import Broker
from ingest_gateway.callers import ANONYMOUS, Caller
from ingest_gateway.ids import Uuid7
from ingest_gateway.intake import Budget, RequestHeaders
from ingest_gateway.metrics import CONTRACTS, IN_FLIGHT_BYTES, IN_FLIGHT_REQUESTS, StreamCounts
from ingest_gateway.overload import WaitingRoom, no_room
from ingest_gateway.problems import Problem, unavailable
from ingest_gateway.produce import Producer
from ingest_gateway.refused_events import RefusedEvents
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.spool.link import Link
from ingest_gateway.spool.spool import Spool
from ingest_gateway.streams import Served, Streams

if TYPE_CHECKING:
    from ingest_gateway.rates import Rates

RateHeaders = tuple[tuple[bytes, bytes], ...]


class Gateway:
    """Made inside the event loop. `running` starts and stops what works in the background."""

    def __init__(self, settings: GatewaySettings, lake: LakeSettings) -> None:
        self.settings = settings
        self.lake = lake
        self.streams = Streams(lake.contracts)
        self.access = Access(settings, self.streams)
        self.rates = _rates(settings)
        self.budget = Budget(settings.max_in_flight_bytes)
        self.mint = Uuid7()
        self.refused = RefusedEvents()
        self.requests = 0
        self.waiting = WaitingRoom(settings.retry_after, lambda: not self.is_full)
        self.broker = Broker(lake, settings)
        self.producer = Producer(self.broker, settings.produce_timeout)
        self.spool = self._spool()
        self._counts: dict[str, StreamCounts] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within. Leaving it, requests have ended already, so nothing is unsent."""
        self.streams.poll()
        self._count_contracts()
        self.broker.start()
        if self.spool is not None:
            await self.spool.start()
        watch = asyncio.create_task(self.streams.watch(self.settings.contract_poll, self._count_contracts))
        keys = asyncio.create_task(self.access.watch(self.settings.contract_poll))
        flush = asyncio.create_task(self._flush_each_second())
        certificate = asyncio.create_task(tls.watch(self.settings))
        _spare_the_collector()
        try:
            yield
        finally:
            watch.cancel()
            keys.cancel()
            flush.cancel()
            certificate.cancel()
            self.flush_metrics()
            if self.spool is not None:
                await self.spool.close()
            await self.broker.stop()

    async def enter(self, scope: Scope, headers: RequestHeaders, stream: str) -> tuple[Caller, RateHeaders]:
        """Who submits to the stream, and headers for the answer. Raises Problem 401, 403 or 429."""
        if self.access.issuer is None:
            return self.enter_at_once(scope, headers, stream)
        with self._guesses_counted(scope):
            caller = await self.access.admit(headers, stream)
        return caller, self.rates.count(caller, scope) if self.rates is not None else ()

    def enter_at_once(self, scope: Scope, headers: RequestHeaders, stream: str) -> tuple[Caller, RateHeaders]:
        """The same, where no identity provider has to be asked."""
        if self.rates is None:
            return self.access.admit_at_once(headers, stream), ()
        with self._guesses_counted(scope):
            caller = self.access.admit_at_once(headers, stream)
        return caller, self.rates.count(caller, scope)

    @contextlib.contextmanager
    def _guesses_counted(self, scope: Scope) -> Iterator[None]:
        try:
            yield
        except Problem:
            if self.rates is not None:
                self.rates.count(ANONYMOUS, scope)  # so that keys cannot be guessed at any rate
            raise

    def count_events(self, caller: Caller, scope: Scope, events: int) -> RateHeaders:
        """Headers for the answer. Raises Problem 429, and 413 where so many at a time are never taken."""
        return () if self.rates is None else self.rates.count_events(caller, scope, events)

    def stream(self, name: str) -> Served:
        """The stream of that name. Raises Problem 404 with the nearest name, or 503 where its contract is broken."""
        served = self.streams.served.get(name)
        if served is not None:
            return served
        if name in self.streams.broken:
            detail = f"The contract of {name} is broken, so its events cannot be checked: {self.streams.broken[name]}"
            raise unavailable("contract-broken", detail, self.settings.retry_after)
        nearest = self.streams.nearest(name)
        hint = f"; did you mean {nearest}?" if nearest else ""
        raise Problem(404, "no-such-stream", f"There is no stream {name[:100]}{hint}", nearest=nearest)

    @property
    def is_full(self) -> bool:
        """Whether as many requests are under way as may be, so that there is no room for the next."""
        return self.requests >= self.settings.max_in_flight_requests

    def leave(self) -> None:
        """A request is answered."""
        self.requests -= 1
        self.waiting.wake()

    def require_room(self) -> None:
        """Raises Problem 503 where an answer now is worth more than one after a wait.

        That is, where as many requests wait as may, or while Kafka is away and no spool has room.
        """
        if self.requests > self.settings.max_in_flight_requests:
            raise no_room(self.settings.retry_after)
        if self.broker.up:
            return
        if self.spool is None:
            raise unavailable("broker-away", f"Kafka is away: {self.broker.reason}", self.settings.retry_after)
        if (refusal := self.spool.refusal()) is not None:
            detail = f"Kafka is away ({self.broker.reason}), and {refusal}"
            raise unavailable(refusal.slug, detail, self.settings.retry_after)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Raises Problem 503: `broker-away`, or `topic-missing` where Kafka says so."""
        count = self.broker.partitions(topic)
        if count:
            return count
        answered = await self.broker.refresh()
        if count := self.broker.partitions(topic):
            return count
        if not answered:
            reason = self.broker.reason or "it does not answer"
            raise unavailable("broker-away", f"Kafka is away: {reason}", self.settings.retry_after)
        if self.broker.had(topic):
            detail = f"Kafka does not name the topic {topic} now, which it did a moment ago"
            raise unavailable("broker-away", detail, self.settings.retry_after)
        detail = f"Kafka has no topic {topic} yet; `sluice apply` makes it from the contract"
        raise unavailable("topic-missing", detail, self.settings.retry_after)

    def counts(self, stream: str) -> StreamCounts:
        """What a stream that exists has taken."""
        found = self._counts.get(stream)
        if found is None:
            found = self._counts[stream] = StreamCounts(stream)
        return found

    def flush_metrics(self) -> None:
        """Bring the metrics up to date. Each worker does each second, and the one that is scraped at once."""
        IN_FLIGHT_BYTES.set(self.budget.held)
        IN_FLIGHT_REQUESTS.set(self.requests + len(self.waiting))
        if self.spool is not None:
            self.spool.flush_metrics()
        for counts in list(self._counts.values()):
            counts.flush()

    def _spool(self) -> Spool | None:
        settings = self.settings
        if settings.spool is None:
            return None
        share = settings.spool_bytes // settings.workers
        link = Link(self.broker, self.producer)
        return Spool(settings.spool, share, settings.spool_drain_bytes, settings.produce_timeout, link)

    async def _flush_each_second(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.flush_metrics()
            self.refused.tell()

    def _count_contracts(self) -> None:
        CONTRACTS.labels("served").set(len(self.streams.served))
        CONTRACTS.labels("broken").set(len(self.streams.broken))


def _spare_the_collector() -> None:
    """Keep what lives as long as the process out of the collector's rounds, and these rare: a request makes no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _rates(settings: GatewaySettings) -> "Rates | None":
    if not settings.has_rate_limits:
        return None
    from ingest_gateway.rates import rates  # a library that most gateways do without

    return rates(settings)
