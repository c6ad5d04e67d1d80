"""How often somebody may ask: counted by whom, shared by all workers, tried from both sides of the limit."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from catalog.errors import SluiceError
from ingest_gateway.addresses import Networks, Proxies, networks
from ingest_gateway.callers import ANONYMOUS, Caller
from ingest_gateway.problems import Problem
from ingest_gateway.rate_table import BUCKETS, WAYS, RateTable, make_table
from ingest_gateway.rates import Rates
from ingest_gateway.settings import GatewaySettings, gateway_settings
from tests.stack import patient


def asked_by(peer: str, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return {"type": "http", "client": (peer, 1234), "headers": headers}


def client(scope: dict[str, Any], trusted: Networks) -> str:
    return Proxies(trusted).client(scope)


PROXIES = networks("10.0.0.0/8, 192.168.1.7, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),  # a stranger says so
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["9.9.9.9, 1.2.3.4"], "1.2.3.4"),  # 9.9.9.9 was written by 1.2.3.4
        ("10.0.0.1", ["9.9.9.9, 1.2.3.4, 192.168.1.7,10.2.2.2"], "1.2.3.4"),
        ("10.0.0.1", ["9.9.9.9", "1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("10.0.0.1", ["[2001:db8::1]:5678"], "2001:db8::/64"),
        ("10.0.0.1", ["x" * 60_000 + ", 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("::ffff:10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("::ffff:1.2.3.4", [], "1.2.3.4"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: list[str], counted: str) -> None:
    assert client(asked_by(peer, *forwarded), PROXIES) == counted
    if not forwarded:
        assert client(asked_by(peer), networks("")) == counted


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_header_raises(lines: list[str]) -> None:
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", line.encode()) for line in lines]}
    assert client(scope, PROXIES)
    assert client({"client": None, "headers": []}, PROXIES) == "unknown"


class Clock:
    """The time that counters see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        for module in (
            "ingest_gateway.rate_table",
            "ingest_gateway.rates",
            "limits.strategies",
            "limits.storage.memory",
        ):
            monkeypatch.setattr(f"{module}.time.time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_it_counts_as_the_library_does(clock: Clock) -> None:
    """The same story told to the library's own storage and to the table has the same answers."""
    ours, theirs = (SlidingWindowCounterRateLimiter(storage) for storage in (RateTable(), MemoryStorage()))
    items = [parse("5/second"), parse("20/10second"), parse("50/minute")]
    story = [0.1, 0.3, 0.05, 0.7, 0.0, 1.3, 0.2, 0.01, 2.5, 0.4, 9.0, 0.3, 0.6, 61.0, 0.5]
    for step in range(2000):
        clock.now += story[step % len(story)] * (1 + step % 7) / 10
        for item in items:
            for who in ("a", "b") if step % 3 else ("a",):
                assert ours.hit(item, who) == theirs.hit(item, who), (step, item, who)
                mine, other = ours.get_window_stats(item, who), theirs.get_window_stats(item, who)
                assert mine.remaining == other.remaining
                assert mine.reset_time == pytest.approx(other.reset_time)


def rates(by_key: str | None, by_address: str | None = None) -> Rates:
    settings = GatewaySettings(rate_limit_by_key=by_key, rate_limit_by_address=by_address, trusted_proxies="10.0.0.0/8")
    return Rates(settings, RateTable())


KNOWN = Caller.of("k1", frozenset({"submit:*"}))
OTHER = Caller.of("k2", frozenset({"submit:*"}))


def test_the_last_that_fits_passes_and_the_next_is_told_when_to_come_back(clock: Clock) -> None:
    limits, scope = rates("3/minute"), asked_by("203.0.113.9")
    left = []
    for _ in range(3):
        policy, state = limits.count(KNOWN, scope)
        assert policy == (b"ratelimit-policy", b'"key";q=3;w=60')
        assert state[0] == b"ratelimit"
        left.append(state[1].decode().split(";")[1])
    assert left == ["r=2", "r=1", "r=0"]
    with pytest.raises(Problem) as raised:
        limits.count(KNOWN, scope)
    problem = raised.value
    assert (problem.status, problem.slug) == (429, "rate-limited")
    wait = int(problem.headers["retry-after"])
    assert problem.headers["ratelimit"] == f'"key";r=0;t={wait}'
    limits.count(OTHER, scope)
    clock.now += 120
    limits.count(KNOWN, scope)


def test_those_without_a_key_are_counted_by_their_address(clock: Clock) -> None:
    limits = rates("1/minute", "2/minute")
    for peer in ("203.0.113.9", "203.0.113.10"):
        for _ in range(2):
            assert limits.count(ANONYMOUS, asked_by(peer))[0][1] == b'"address";q=2;w=60'
        with pytest.raises(Problem):
            limits.count(ANONYMOUS, asked_by(peer))
    limits.count(ANONYMOUS, asked_by("10.0.0.1", "1.2.3.4"))
    limits.count(ANONYMOUS, asked_by("10.0.0.2", "1.2.3.4"))
    with pytest.raises(Problem):
        limits.count(ANONYMOUS, asked_by("10.0.0.3", "1.2.3.4"))
    limits.count(KNOWN, asked_by("203.0.113.9"))
    assert rates(None, "1/minute").count(KNOWN, asked_by("203.0.113.9")) == ()
    assert rates("1/minute").count(ANONYMOUS, asked_by("203.0.113.9")) == ()


def events(by_key: str, by_requests: str | None = None) -> Rates:
    settings = GatewaySettings(
        event_rate_limit_by_key=by_key, event_rate_limit_by_address="10/minute", rate_limit_by_key=by_requests
    )
    return Rates(settings, RateTable())


def test_events_are_counted_whatever_batch_they_come_in(clock: Clock) -> None:
    limits, scope = events("100/minute"), asked_by("203.0.113.9")
    assert limits.count(KNOWN, scope) == ()
    for taken in (60, 0, 1, 38):
        found = dict(limits.count_events(KNOWN, scope, taken))
        assert not found or found[b"ratelimit-policy"] == b'"key-events";q=100;w=60'
    with pytest.raises(Problem, match="More than 100 events a minute by this key") as raised:
        limits.count_events(KNOWN, scope, 2)  # one would fit, and a batch is not split
    assert raised.value.status == 429
    limits.count_events(KNOWN, scope, 1)
    limits.count_events(OTHER, scope, 100)
    with pytest.raises(Problem, match="101 events at a time are more than 100 events a minute") as raised:
        limits.count_events(OTHER, scope, 101)
    assert (raised.value.status, raised.value.slug) == (413, "too-many-events")
    with pytest.raises(Problem):
        limits.count_events(ANONYMOUS, scope, 11)
    limits.count_events(ANONYMOUS, scope, 10)


def test_requests_and_events_have_counters_of_their_own(clock: Clock) -> None:
    """Though their limits are the same."""
    limits, scope = events("3/minute", "3/minute"), asked_by("203.0.113.9")
    for _ in range(3):
        limits.count(KNOWN, scope)
        limits.count_events(KNOWN, scope, 1)
    for count in (limits.count, lambda caller, where: limits.count_events(caller, where, 1)):
        with pytest.raises(Problem):
            count(KNOWN, scope)


def test_a_full_bucket_gives_up_who_was_counted_least(clock: Clock) -> None:
    table, item = RateTable(), parse("1000/minute")
    limiter = SlidingWindowCounterRateLimiter(table)
    for _ in range(50):
        limiter.hit(item, "busy")
    for stranger in range(BUCKETS * WAYS * 3):
        limiter.hit(item, f"stranger {stranger}")
    assert limiter.get_window_stats(item, "busy").remaining == 950
    clock.now += 200
    limiter.hit(item, "new")
    assert limiter.get_window_stats(item, "busy").remaining == 1000
    limiter.clear(item, "new")
    assert limiter.get_window_stats(item, "new").remaining == 1000


def _hit(path: Path, times: int, start: Any, taken: Any) -> None:
    limiter, item = SlidingWindowCounterRateLimiter(RateTable(path)), parse("20000/hour")
    start.wait()
    with pytest.MonkeyPatch.context() as patch:
        Clock(patch)  # no hour ends meanwhile
        taken.put(sum(limiter.hit(item, "shared") for _ in range(times)))


def test_workers_count_in_one_table(tmp_path: Path) -> None:
    make_table(tmp_path / "rates")
    spawn = multiprocessing.get_context("spawn")
    start, taken = spawn.Barrier(3), spawn.Queue()
    workers = [spawn.Process(target=_hit, args=(tmp_path / "rates", 10_000, start, taken)) for _ in range(3)]
    for worker in workers:
        worker.start()
    counts = [taken.get(timeout=patient(60)) for _ in workers]
    for worker in workers:
        worker.join(patient(60))
    assert sum(counts) == 20_000, "not one more, not one less"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT_BY_KEY", "many"),
        ("RATE_LIMIT_BY_KEY", "0/second"),
        ("RATE_LIMIT_BY_ADDRESS", "5/fortnight"),
        ("RATE_LIMIT_BY_ADDRESS", "-5/second"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("EVENT_RATE_LIMIT_BY_KEY", "0/second"),
        ("EVENT_RATE_LIMIT_BY_ADDRESS", "many"),
        ("PROXY_HEADER", "via"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_CONNECTIONS_BY_ADDRESS", "0"),
    ],
)
def test_settings_that_cannot_work_are_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SLUICE_GATEWAY_{name}", value)
    with pytest.raises(SluiceError, match=f"SLUICE_GATEWAY_{name}="):
        gateway_settings()
