"""The benchmark of the stream job: what its load sends, how it reckons times, and how its figures are judged and shown."""

import copy
from typing import Any

import orjson
import pytest
from rich.console import Console

from catalog.odcs import load_contracts
from catalog.settings import BUNDLED_CONTRACTS
from infra.bench.events import Source
from infra.bench.fill import record
from infra.bench.freshness import lags, own_lags
from infra.bench.stream.aims import AIMS, judged
from infra.bench.stream.show import show
from infra.demo.sets import DemoSet, demo_sets

STEADY = {
    "minutes": 60.0,
    "load_before": 0.1,
    "freshness": {
        "unseen": 0,
        "seconds": {"p50": 0.9, "p95": 1.9, "p99": 2.0, "max": 4.0},
        "commit_seconds": {"max": 3.9},
    },
    "rss_mb": 900.0,
    "tables": {"settled_files": 8, "in_table": "silver.orders", "metadata_share": 0.02},
}
FOUND: dict[str, Any] = {
    "cores": 2,
    "steady": STEADY,
    "catchup": {
        "ratio": 0.7,
        "load_before": 0.2,
        "stream_job": {"rows_per_s_from_start": 80_000.0, "rss_mb": 1_400.0},
    },
    "growth": {"events": {"ratio": 1.1, "load_before": 0.1}, "entities": {"ratio": 1.2, "load_before": 0.1}},
    "faults": {"load_before": 0.3, "seconds": {"kafka": 12.0, "trino": 29.0}},
}


def test_a_lag_ends_with_the_first_state_that_has_the_offset() -> None:
    answered = [(1.0, 0, 10), (1.5, 0, 11), (1.0, 1, 3), (9.0, 1, 4)]
    states = [(1.2, {0: 9}), (2.0, {0: 11, 1: 3}), (3.0, {0: 20, 1: 3})]
    assert sorted(lags(answered, states)) == [0.5, 1.0, 1.0]  # the last event was not seen: it is counted, not timed


def test_rows_are_timed_by_the_look_at_their_own_snapshot() -> None:
    answered = [(1.0, 0, 10), (1.5, 0, 11), (1.6, 0, 12), (1.0, 1, 3), (9.0, 1, 4)]
    looks = [(2.0, {0: 10}, {0: 12, 1: 3}), (4.0, {0: 20, 1: 3}, {0: 30, 1: 3})]
    assert list(own_lags(answered, looks)) == [0.5, pytest.approx(0.4), 1.0]


def test_orders_with_one_number_have_one_key_and_ids_of_their_own() -> None:
    first, later = record("s", 7), record("s", 7, "-1")
    assert first[0] == later[0]
    assert orjson.loads(first[1]) == orjson.loads(later[1])
    assert first[2] != later[2]
    assert 270 < len(first[1]) + len(first[0]) < 400


def demo_set(name: str) -> DemoSet:
    return next(one for one in demo_sets(load_contracts(BUNDLED_CONTRACTS)) if one.stream.name == name)


def test_every_other_user_is_one_that_was_sent_before() -> None:
    events = Source(demo_set("users"), "run").take(600)
    users = [orjson.loads(event.payload)["user_id"] for event in events]
    assert len({event.id for event in events}) == 600
    assert 250 < len(set(users)) < 450


def test_orders_are_never_the_demos_own() -> None:
    demo = demo_set("orders")
    sent = {orjson.loads(event.payload)["order_id"] for event in Source(demo, "run").take(100)}
    assert len(sent) == 100
    assert not sent & {orjson.loads(one.payload)["order_id"] for one in demo.records}


def test_all_aims_are_judged_on_their_side() -> None:
    assert {one["reached"] for one in judged(FOUND)} == {True}
    assert len(judged(FOUND)) == sum(map(len, AIMS.values()))
    worse = copy.deepcopy(FOUND)
    worse["steady"]["freshness"] = {
        "unseen": 1,
        "seconds": {"p50": 1.1, "p95": 2.1, "max": 4.9},
        "commit_seconds": {"max": 5.1},
    }
    worse["steady"] |= {"rss_mb": 1_501.0, "tables": {"settled_files": 21, "metadata_share": 0.06}}
    worse["catchup"] = {"ratio": 0.4, "stream_job": {"rows_per_s_from_start": 70_000.0, "rss_mb": 1_501.0}}
    worse["growth"] = {"events": {"ratio": 1.3}, "entities": {"ratio": 1.3}}
    worse["faults"]["seconds"]["trino"] = 31.0
    assert {one["reached"] for one in judged(worse)} == {False}


def test_a_short_run_says_nothing_of_an_hour() -> None:
    short = {"steady": {**STEADY, "minutes": 10.0}}
    assert [one["aim"] for one in judged(short) if one["reached"] is None] == [
        "files of a partition, after an hour",
        "metadata of all bytes, after an hour",
    ]


@pytest.mark.parametrize("load", [0.1, 5.0])
def test_the_tables_show_figures_aims_and_a_busy_machine(load: float) -> None:
    found = copy.deepcopy(FOUND)
    found["growth"]["entities"]["load_before"] = load
    console = Console(record=True, width=100)
    show(console, found | {"aims": judged(found)})
    shown = console.export_text()
    assert all(aim.what in shown for of in AIMS.values() for aim in of)
    assert "seconds.trino" in shown
    assert ("busy before a part began" in shown) == (load > 1)
