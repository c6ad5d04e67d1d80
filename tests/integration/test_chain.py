"""From a file to silver and quarantine: every row is where it belongs, and a second sending adds none."""

import csv
import json
from collections import Counter

import pytest

from catalog import query
from catalog.settings import LakeSettings
from infra.demo.generate import users
from tests.stack import CHECKOUT, WAIT, Stack

pytestmark = pytest.mark.stack

DATA = CHECKOUT / "infra" / "demo" / "data"


def count(lake: LakeSettings, table: str) -> int:
    return int(query.rows(lake, f"select count(*) as n from {table}")[0]["n"])


@pytest.fixture(scope="module")
def demo(stack: Stack, lake: LakeSettings) -> str:
    """What `sluice up --demo` printed; the stack runs already, so it only loads and shows."""
    return stack.sluice("up", "--demo")


def test_the_demo_says_where_everything_went(demo: str, stack: Stack) -> None:
    for stream in ("wildlife_strikes", "earthquakes", "orders", "users"):
        assert stream in demo
    assert stack.env()["SLUICE_UI_URL"] in demo
    assert "./sluice sql" in demo


def test_every_strike_is_in_silver_or_quarantined_for_its_damage_code(demo: str, lake: LakeSettings) -> None:
    with (DATA / "birdstrikes.csv").open(newline="", encoding="utf-8") as file:
        codes = Counter(row["Effect Amount of damage"] for row in csv.DictReader(file))
    odd = sum(n for code, n in codes.items() if code not in ("None", "Minor", "Medium", "Substantial"))
    assert count(lake, "bronze.wildlife_strikes") == codes.total() == 10_000
    assert count(lake, "silver.wildlife_strikes") == codes.total() - odd
    found = query.rows(
        lake,
        'select v.rule, v."column", count(*) as n from quarantine.wildlife_strikes cross join unnest(_violations) as v'
        '(rule, "column", severity, message) group by 1, 2',
    )
    assert [(row["column"], row["n"]) for row in found] == [("damage", odd)]


def test_every_earthquake_keeps_its_numbers(demo: str, lake: LakeSettings) -> None:
    features = json.loads((DATA / "earthquakes.json").read_text())["features"]
    expected = {
        feature["id"]: (
            feature["properties"]["mag"],
            feature["properties"]["time"],
            feature["geometry"]["coordinates"][2],
        )
        for feature in features
    }
    rows = query.rows(
        lake, "select id, mag, cast(round(to_unixtime(time) * 1000) as bigint) as millis, depth from silver.earthquakes"
    )
    assert {row["id"]: (row["mag"], row["millis"], row["depth"]) for row in rows} == expected
    assert len(rows) == len(features)


def test_orders_sent_twice_are_there_once(demo: str, lake: LakeSettings) -> None:
    row = query.rows(
        lake,
        "select count(*) as n, count(distinct event_id) as ids from bronze.orders",
    )[0]
    assert row["n"] > row["ids"], "the demo resends some orders"
    kept = count(lake, "silver.orders") + count(lake, "quarantine.orders")
    assert kept == row["ids"]


def test_silver_holds_the_latest_version_of_each_user(demo: str, lake: LakeSettings) -> None:
    latest: dict[str, dict[str, object]] = {}
    for user in users():
        key = str(user["user_id"])
        if key not in latest or str(user["updated_at"]) >= str(latest[key]["updated_at"]):
            latest[key] = user
    rows = query.rows(lake, "select user_id, email, city from silver.users")
    assert {r["user_id"]: (r["email"], r["city"]) for r in rows} == {
        key: (user["email"], user["city"]) for key, user in latest.items()
    }


def test_a_resent_file_adds_no_row(demo: str, stack: Stack, lake: LakeSettings) -> None:
    counts = []
    for batch in ("333", "100"):
        sent = ("send", str(DATA / "earthquakes.json"), "--stream", "earthquakes", "--batch", batch, "--json")
        assert json.loads(stack.sluice(*sent))["refused"] == 0
        stack.sluice("verify", "--wait", WAIT, "--stream", "earthquakes")
        counts.append(count(lake, "silver.earthquakes"))
    assert counts == [1707, 1707]


def test_verify_is_clean_after_the_demo(demo: str, stack: Stack) -> None:
    reports = json.loads(
        stack.sluice("verify", "--json", "--wait", WAIT, "-s", "wildlife_strikes", "-s", "orders", "-s", "users")
    )
    assert [report["deviations"] for report in reports] == [[], [], []]
