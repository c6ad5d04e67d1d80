"""The benchmark of the gateway: its load sends and counts what it says, its figures are judged on the right side."""

import asyncio
import json
from typing import Any

import pytest
from rich.console import Console

from infra.bench.gateway.aims import AIMS, judged
from infra.bench.gateway.load import Job, Load, figures
from infra.bench.gateway.measure import _ratios
from infra.bench.gateway.shapes import SHAPES, bodies
from infra.bench.gateway.show import show


@pytest.mark.parametrize(("name", "events", "size"), [("singles", 1, 1000), ("batches", 100, 300)])
def test_bodies_have_the_shape_that_is_told(name: str, events: int, size: int) -> None:
    for body in bodies(name):
        lines = body.split(b"\n")
        assert (len(lines), {len(line) for line in lines}) == (events, {size})
        assert len({json.loads(line)["order_id"] for line in lines}) == events
    assert len(set(bodies(name))) == SHAPES[name].different
    assert bodies(name) == bodies(name)


def answering(answer: bytes) -> Any:
    """A server that gives one answer to whatever it reads."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            assert head == b"ask\n"
            writer.write(answer[:20])
            await writer.drain()
            writer.write(answer[20:])
        writer.close()

    return asyncio.start_server(serve, "127.0.0.1", 0)


def run(answer: bytes, **job: Any) -> dict[str, Any]:
    async def load() -> dict[str, Any]:
        async with await answering(answer) as server:
            port = server.sockets[0].getsockname()[1]
            chosen = Job(port, "x", "batches", 0.3, 3, **job)
            one = Load(chosen, [b"ask\n"])
            return figures(chosen, one.tally, await one.run())

    return asyncio.run(load())


TAKEN = b"HTTP/1.1 202 Accepted\r\nx: y\r\ncontent-length: 5\r\n\r\nhello"


def test_a_closed_loop_counts_the_events_that_were_accepted() -> None:
    found = run(TAKEN)
    assert set(found["statuses"]) == {"202"}
    assert found["accepted_events"] == 100 * found["statuses"]["202"] > 0
    assert found["lost"] == 0


def test_what_is_refused_is_not_accepted() -> None:
    found = run(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
    assert set(found["statuses"]) == {"503"}
    assert found["accepted_events"] == 0
    assert found["from_sending_ms"]["503"]["p99"] > 0


def test_an_open_loop_keeps_its_rate() -> None:
    found = run(TAKEN, rate=200.0)
    assert 20 < found["statuses"]["202"] < 120  # 60 are expected
    assert found["from_due_ms"]["202"]["p50"] >= found["from_sending_ms"]["202"]["p50"]


def test_a_ratio_is_of_runs_that_followed_each_other() -> None:
    """A machine that slows down changes both."""
    rates = {"sluice": (600, 60, 6), "echo": (1000, 100, 10)}
    found = _ratios({name: [{"accepted_events_per_s": rate} for rate in of] for name, of in rates.items()})
    assert found == {"echo": pytest.approx(0.6)}


def measures(**overload: Any) -> dict[str, Any]:
    rate = {"events_per_s": 150_000.0, "best_events_per_s": 160_000.0, "server_us_per_event": 3.0}
    spooled = {"spooled_events_per_s": 30_000.0, "drained_events_per_s": 1.0}
    times = {"p50_ms": 1.0, "p99_ms": 20.0}
    return {
        "workers": 1,
        "cores": 2,
        "load_before": 0.4,
        "singles": {"echo": rate, "plain": rate, "sluice": rate},
        "batches": {"producer": {**rate, "server_us_per_event": None}, "plain": rate, "tuned": rate, "sluice": rate},
        "ratios": {"singles": {"echo": 0.5, "plain": 1.1}, "batches": {"producer": 0.6, "plain": 7.0, "tuned": 2.0}},
        "half_rate": {"rate": 100.0, "sluice": times, "plain": times},
        "overload": {
            "rate": 300.0, "dropped": 0, "rss_mb": {"before": 100.0, "during": 120.0, "after": 110.0},
            "accepted_events_per_s": 149_000.0, "statuses": {}, "from_sending_ms": {}, **overload,
        },
        "spool": {"singles": spooled, "batches": spooled},
    }  # fmt: skip


def test_each_aim_is_judged_on_its_side() -> None:
    reached = {one["aim"]: one["reached"] for one in judged(measures())}
    assert reached.pop("singles, of the echo's rate") is False
    assert reached.pop("overload, p99 of 503s in ms") is None
    assert set(reached.values()) == {True}
    late = {"statuses": {"503": 9}, "from_sending_ms": {"503": {"p50": 1.0, "p99": 51.0}}}
    assert {one["aim"] for one in judged(measures(**late)) if one["reached"] is False} == {
        "singles, of the echo's rate",
        "overload, p99 of 503s in ms",
    }


def test_the_tables_show_all_aims() -> None:
    console = Console(record=True, width=80)
    show(console, measures() | {"aims": judged(measures())})
    shown = console.export_text()
    assert all(aim.what in shown for aim in AIMS)
    assert "not reached" in shown
    assert "busy" not in shown


def test_a_busy_machine_is_told() -> None:
    console = Console(record=True, width=80)
    show(console, measures() | {"aims": [], "load_before": 9.0})
    assert "busy before the first run" in console.export_text()
