"""How often a caller may ask: by key or token for those who are known, by address for all others."""

import math
import os
import time
from pathlib import Path

from limits import RateLimitItem, parse
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import Scope

from ingest_gateway.addresses import Proxies, networks
from ingest_gateway.callers import ANONYMOUS, Caller
from ingest_gateway.problems import Problem
from ingest_gateway.rate_table import TABLE, RateTable
from ingest_gateway.settings import GatewaySettings

Headers = tuple[tuple[bytes, bytes], ...]


class Rates:
    """Counts requests, and events, each in a sliding window.

    Headers are those of the IETF draft, `RateLimit-Policy` and `RateLimit`.
    """

    def __init__(self, settings: GatewaySettings, table: RateTable) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(table)
        self._by_key = _policy("key", "requests", settings.rate_limit_by_key)
        self._by_address = _policy("address", "requests", settings.rate_limit_by_address)
        self._events_by_key = _policy("key", "events", settings.event_rate_limit_by_key)
        self._events_by_address = _policy("address", "events", settings.event_rate_limit_by_address)
        self._proxies = Proxies(networks(settings.trusted_proxies), settings.proxy_header)

    def count(self, caller: Caller, scope: Scope) -> Headers:
        """Count a request; the headers for its answer. Raises Problem 429."""
        if caller is ANONYMOUS:
            return self._count(self._by_address, self._proxies.client(scope), 1)
        return self._count(self._by_key, caller.producer.decode(), 1)

    def count_events(self, caller: Caller, scope: Scope, events: int) -> Headers:
        """Count a request's events, good or not: all of them, or none where they are too many.

        Raises Problem 429, and 413 where so many are more than the limit itself.
        """
        if not events:
            return ()
        if caller is ANONYMOUS:
            return self._count(self._events_by_address, self._proxies.client(scope), events)
        return self._count(self._events_by_key, caller.producer.decode(), events)

    def _count(self, policy: "_Policy | None", identity: str, amount: int) -> Headers:
        if policy is None:
            return ()
        if amount > policy.item.amount:
            detail = f"{amount} events at a time are more than {policy.text} by {policy.whose}; send fewer"
            raise Problem(413, "too-many-events", detail)
        taken = self._limiter.hit(policy.item, policy.name, identity, cost=amount)
        stats = self._limiter.get_window_stats(policy.item, policy.name, identity)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        state = f'"{policy.name}";r={stats.remaining};t={wait}'
        if taken:
            return ((b"ratelimit-policy", policy.header), (b"ratelimit", state.encode()))
        detail = f"More than {policy.text} by {policy.whose}; come back in {wait} s"
        headers = {"retry-after": str(wait), "ratelimit-policy": policy.header.decode(), "ratelimit": state}
        raise Problem(429, "rate-limited", detail, headers=headers)


class _Policy:
    def __init__(self, whose: str, what: str, text: str) -> None:
        self.name = whose if what == "requests" else f"{whose}-{what}"
        self.whose = f"this {whose}"
        number, _, window = text.partition("/")
        self.text = f"{number} {what} in {window}" if window[0].isdigit() else f"{number} {what} a {window}"
        self.item: RateLimitItem = parse(text)
        self.header = f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'.encode()


def _policy(whose: str, what: str, text: str | None) -> _Policy | None:
    return _Policy(whose, what, text) if text else None


def rates(settings: GatewaySettings) -> Rates:
    """The limits. Several workers count in one table, in the folder that they share for metrics."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Rates(settings, RateTable(Path(folder) / TABLE if folder and settings.workers > 1 else None))
