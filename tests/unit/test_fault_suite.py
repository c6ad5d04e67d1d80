"""The fault suite's own parts: its dice, its flaky object store, its fold."""

import http.server
import itertools
import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from tests.faults.accounts import folded
from tests.faults.load import Ledger, body
from tests.faults.proxy import flaky_store
from tests.faults.strikes import deck, strikes
from tests.stack import patient


def names(seed: int, count: int) -> list[str]:
    return [name for name, _ in itertools.islice(deck(Random(seed), count), count)]


def test_a_seed_gives_the_same_strikes_and_all_come_before_one_comes_again() -> None:
    every = len(strikes())
    assert names(7, every + 3) == names(7, every + 3)
    assert sorted(names(7, every)) == sorted(strikes())


def test_strikes_of_a_name_alone() -> None:
    assert [name for name, _ in deck(Random(1), 3, "kill minio")] == ["kill minio"] * 3
    with pytest.raises(AssertionError, match="no strike is named rain; there are kill gateway"):
        next(deck(Random(1), 1, "rain"))


class Brisk(Random):
    """Dice for those in a hurry: what is slow takes no time."""

    def uniform(self, a: float, b: float) -> float:
        super().uniform(a, b)  # what comes next is as if it had
        return 0.0


@pytest.fixture
def store() -> Iterator[str]:
    """A server that takes and gives."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_PUT = do_GET  # noqa: N815 (the library's names)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_flaky_store_passes_calls_on_until_it_is_told_to_fail(store: str) -> None:
    with flaky_store(store, Brisk(1)) as (flaky, address), httpx.Client(timeout=patient(20)) as client:
        for _ in range(5):
            assert client.put(address, content=b"x" * 200_000).text == "ok"
        flaky.full = True
        assert client.put(address, content=b"x").status_code == 507
        assert client.get(address).text == "ok", "what is there can be read"
        flaky.full, flaky.trouble = False, 1.0
        failed = flaky.failed
        outcomes = {outcome(client, address) for _ in range(12)}
        assert {"503", "broken"} <= outcomes
        assert flaky.failed >= failed + 12
        flaky.trouble = 0.0
        assert client.get(address).text == "ok"


def outcome(client: httpx.Client, address: str) -> str:
    try:
        return str(client.get(address).status_code)
    except httpx.TransportError:
        return "broken"


def row(event_id: str, offset: int, quantity: int, at: str, item: str = "a") -> dict[str, Any]:
    return {"event_id": event_id, "o": offset, "body": orjson.dumps({"item": item, "quantity": quantity, "at": at})}


def test_the_fold_keeps_the_latest_by_event_time_then_offset() -> None:
    early, late = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    rows = [
        row("1", 0, 1, late),
        row("2", 1, 2, early),  # came later, and is older
        row("3", 2, 3, late),
        row("1", 3, 1, late),  # a repeat
        row("4", 4, 5_000, late),  # bad
        row("5", 5, 9, early, "b"),
    ]
    assert folded(rows) == ({"a": (3, "3"), "b": (9, "5")}, {"4"})


def test_an_id_that_was_told_of_is_not_unknown() -> None:
    ledger = Ledger({"a", "b", "c"}, acknowledged={"a"}, refused={"b"})
    assert ledger.unknown == {"c"}


def test_the_load_has_every_kind_of_event() -> None:
    bodies = [body(n, (n % 100) / 100) for n in range(100)]
    assert {type(b["quantity"]) for b in bodies} == {int, str}
    assert any(b["quantity"] == 5_000 for b in bodies)
    assert {str(b["at"])[:4] for b in bodies} == {"2020", "2026"}
