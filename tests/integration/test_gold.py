"""Every gold figure, computed again from the raw files with nothing but the standard library, against what Trino answers.

The demo must have been loaded into the stack: wildlife strikes, earthquakes, orders and users in the files of infra/demo.
"""

import csv
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from catalog import gold_refresh, query
from catalog.gold_project import GoldProject
from catalog.names import PASSING
from catalog.settings import LakeSettings, read_settings
from infra.commands import demo
from tests.stack import Stack, eventually
from ui.tables import gold_models

pytestmark = pytest.mark.stack

DEMO = Path(__file__).parents[2] / "infra" / "demo" / "data"
SCALE = {"None", "Minor", "Medium", "Substantial"}


@pytest.fixture(scope="module")
def lake(stack: Stack) -> Iterator[LakeSettings]:
    """Settings of the stack, with the demo in silver and gold built."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.env().items():
            patch.setenv(name, value)
        settings = read_settings(LakeSettings)
        demo.run(settings)
        gold_refresh.build(settings)
        yield settings


def ask(lake: LakeSettings, sql: str) -> list[dict[str, Any]]:
    return query.rows(lake, sql)


def strikes() -> list[dict[str, str]]:
    with DEMO.joinpath("birdstrikes.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["Effect Amount of damage"] in SCALE]


def measures(rows: Iterable[dict[str, str]]) -> dict[str, Any]:
    rows = list(rows)
    sizes = Counter(row["Wildlife Size"] for row in rows)
    costs = [int(row["Cost Total $"]) for row in rows]
    damaging = sum(row["Effect Amount of damage"] != "None" for row in rows)
    return {
        "strikes": len(rows),
        "small_strikes": sizes["Small"],
        "medium_strikes": sizes["Medium"],
        "large_strikes": sizes["Large"],
        "damaging_strikes": damaging,
        "damaging_share": pytest.approx(damaging / len(rows)),
        "strikes_with_cost": sum(cost > 0 for cost in costs),
        "cost_total": sum(costs),
        "cost_repair": sum(int(row["Cost Repair"]) for row in rows),
        "cost_other": sum(int(row["Cost Other"]) for row in rows),
        "highest_cost": max(costs),
        "first_flight_date": min(date.fromisoformat(row["Flight Date"]) for row in rows),
        "last_flight_date": max(date.fromisoformat(row["Flight Date"]) for row in rows),
    }


def unknown(rows: Iterable[dict[str, str]]) -> dict[str, Any]:
    names = [row["Wildlife Species"].startswith("Unknown") for row in rows]
    return {"unknown_species_strikes": sum(names), "unknown_species_share": pytest.approx(sum(names) / len(names))}


def groups(rows: Iterable[dict[str, str]], *columns: str) -> dict[tuple[str, ...], list[dict[str, str]]]:
    found: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        found[tuple(row[column] for column in columns)].append(row)
    return found


def test_strikes_by_species(lake: LakeSettings) -> None:
    every = strikes()
    expected = {
        name: measures(rows)
        | {"is_unknown": name.startswith("Unknown"), "share_of_strikes": pytest.approx(len(rows) / len(every))}
        for (name,), rows in groups(every, "Wildlife Species").items()
    }
    assert {row.pop("species"): row for row in ask(lake, "select * from gold.strikes_by_species")} == expected


def test_strikes_by_airport(lake: LakeSettings) -> None:
    expected = {
        key: measures(rows) | unknown(rows) for key, rows in groups(strikes(), "Airport Name", "Origin State").items()
    }
    found = ask(lake, "select * from gold.strikes_by_airport")
    assert {(row.pop("airport"), row.pop("state")): row for row in found} == expected


def test_strikes_by_phase_of_flight(lake: LakeSettings) -> None:
    expected = {}
    for (name,), rows in groups(strikes(), "Phase of flight").items():
        speeds = [int(row["Speed IAS in knots"]) for row in rows if row["Speed IAS in knots"]]
        speed = {
            "strikes_with_speed": len(speeds),
            "average_speed_knots": pytest.approx(sum(speeds) / len(speeds)) if speeds else None,
        }
        expected[name] = measures(rows) | unknown(rows) | speed
    assert {
        row.pop("phase_of_flight"): row for row in ask(lake, "select * from gold.strikes_by_phase_of_flight")
    } == expected


def test_earthquakes_by_day(lake: LakeSettings) -> None:
    features = json.loads(DEMO.joinpath("earthquakes.json").read_text(encoding="utf-8"))["features"]
    bands: dict[tuple[date, str], list[dict[str, Any]]] = defaultdict(list)
    for feature in features:
        facts = feature["properties"] | {"id": feature["id"], "depth": feature["geometry"]["coordinates"][2]}
        if facts["type"] == "earthquake" and facts["status"] != "deleted":
            day = datetime.fromtimestamp(facts["time"] / 1000, UTC).date()
            bands[day, band(facts["mag"])].append(facts)
    expected = {}
    for key, quakes in bands.items():
        strongest = max(quakes, key=lambda quake: (quake["mag"], quake["id"]))
        expected[key] = {
            "earthquakes": len(quakes),
            "strongest_magnitude": pytest.approx(strongest["mag"]),
            "strongest_place": strongest["place"],
            "average_depth_km": pytest.approx(sum(quake["depth"] for quake in quakes) / len(quakes)),
            "felt_earthquakes": sum((quake["felt"] or 0) > 0 for quake in quakes),
            "felt_reports": sum(quake["felt"] or 0 for quake in quakes),
            "tsunami_flags": sum(quake["tsunami"] for quake in quakes),
            "reviewed": sum(quake["status"] == "reviewed" for quake in quakes),
        }
    found = ask(lake, "select * from gold.earthquakes_by_day")
    assert all((row.pop("band_order") == 0) == (row["magnitude_band"] == "below 1") for row in found)
    assert {(row.pop("day"), row.pop("magnitude_band")): row for row in found} == expected


def band(magnitude: float | None) -> str:
    if magnitude is None:
        return "unknown"
    if magnitude < 1:
        return "below 1"
    return "7 and above" if magnitude >= 7 else f"{int(magnitude)} to {int(magnitude) + 1}"


def payloads(lake: LakeSettings, stream: str) -> list[dict[str, Any]]:
    """What was submitted and not quarantined: the generator's orders and users have no file, bronze is their record."""
    found = ask(
        lake,
        f"select payload from bronze.{stream} where event_id not in (select _event_id from quarantine.{stream}) "
        'order by "partition", "offset"',
    )
    return [json.loads(row["payload"], parse_float=Decimal) for row in found]


def sold(lake: LakeSettings) -> dict[tuple[datetime, str, str], dict[str, Any]]:
    orders = {
        order["order_id"]: order
        for order in payloads(lake, "orders")
        if order["quantity"] <= 1000 and not order["product_id"].startswith("TEST")
    }
    expected: dict[tuple[datetime, str, str], dict[str, Any]] = {}
    for order in orders.values():
        at = datetime.fromisoformat(order["timestamp"]).astimezone(UTC).replace(second=0, microsecond=0)
        key = at, order["product_id"], order.get("currency") or "XXX"
        sums = expected.setdefault(key, {"orders": 0, "units": 0, "revenue": None, "orders_without_price": 0})
        price = order.get("unit_price")
        sums["orders"] += 1
        sums["units"] += order["quantity"]
        if price is None:
            sums["orders_without_price"] += 1
        else:
            sums["revenue"] = (sums["revenue"] or Decimal(0)) + Decimal(str(price)) * order["quantity"]
    return expected


COLUMNS = "orders, units, revenue, orders_without_price"


def by_minute(lake: LakeSettings) -> dict[tuple[datetime, str, str], dict[str, Any]]:
    found = ask(lake, f"select order_minute, product_id, currency, {COLUMNS} from gold.revenue_by_product_minute")
    return {(row.pop("order_minute"), row.pop("product_id"), row.pop("currency")): row for row in found}


def test_revenue_by_product_and_minute(lake: LakeSettings) -> None:
    eventually(lambda: by_minute(lake) == sold(lake), 120, "gold has caught up with silver")


def test_revenue_by_product(lake: LakeSettings) -> None:
    expected: dict[tuple[str, str], dict[str, Any]] = {}
    for (_, product, currency), sums in by_minute(lake).items():
        total = expected.setdefault((product, currency), dict.fromkeys(sums, 0) | {"revenue": None})
        for name, value in sums.items():
            total[name] = total[name] if value is None else (total[name] or 0) + value
    found = ask(lake, f"select product_id, currency, {COLUMNS} from gold.revenue_by_product")
    assert {(row.pop("product_id"), row.pop("currency")): row for row in found} == expected


def test_users_by_country_and_age(lake: LakeSettings) -> None:
    latest: dict[str, dict[str, Any]] = {}
    for user in payloads(lake, "users"):
        before = latest.get(user["user_id"])
        if before is None or moment(user["updated_at"]) >= moment(before["updated_at"]):
            latest[user["user_id"]] = user
    # The day on which the view was read: it may end meanwhile.
    found = ask(lake, "select country, age_band, users, current_date as today from gold.users_by_country_and_age")
    [today] = {row["today"] for row in found}
    expected = Counter((user["country"], age_band(user.get("date_of_birth"), today)) for user in latest.values())
    assert {(row["country"], row["age_band"]): row["users"] for row in found} == expected


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def age_band(born: str | None, today: date) -> str:
    if born is None:
        return "unknown"
    day = date.fromisoformat(born)
    age = today.year - day.year - ((today.month, today.day) < (day.month, day.day))
    for limit, name in ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (55, "45-54"), (65, "55-64")):
        if age < limit:
            return name
    return "65 and over"


def test_every_column_is_described(lake: LakeSettings) -> None:
    found = ask(
        lake, "select distinct table_name, column_name from information_schema.columns where table_schema = 'gold'"
    )
    columns: dict[str, set[str]] = defaultdict(set)
    for row in found:
        if not row["table_name"].endswith(PASSING):
            columns[row["table_name"]].add(row["column_name"])
    assert columns == {name: {column["name"] for column in model["columns"]} for name, model in gold_models().items()}


def test_the_models_tests_pass(lake: LakeSettings, tmp_path: Path) -> None:
    result = gold_refresh.build(lake, test=True, project=GoldProject(lake, tmp_path))
    assert not result.failures
    assert any(node.kind == "test" for node in result.nodes)


def test_only_touched_minutes_are_computed_again(lake: LakeSettings, stack: Stack, tmp_path: Path) -> None:
    project = GoldProject(lake, tmp_path)
    gold_refresh.build(lake, ["revenue_by_product_minute"], project=project)
    before = stamps(lake)
    late = min(key[0] for key in by_minute(lake))
    order = {"order_id": str(uuid4()), "product_id": "WHEY001", "quantity": 3, "timestamp": late.isoformat(),
             "unit_price": 2.5, "currency": "EUR"}  # fmt: skip
    stack.sluice("send", "-", "--stream", "orders", "--format", "ndjson", stdin=json.dumps(order))
    eventually(
        lambda: ask(lake, f"select 1 from silver.orders where order_id = '{order['order_id']}'"), 60, "order in silver"
    )
    result = gold_refresh.refresh(lake, project, gold_refresh.snapshots(lake, {"orders"}))
    assert result.ok
    changed = {key for key, stamp in stamps(lake).items() if before.get(key) != stamp}
    # The stack's own refresher may have been quicker: either way, no other minute was touched.
    assert {key[0] for key in changed} == {late}
    assert by_minute(lake) == sold(lake)


def stamps(lake: LakeSettings) -> dict[tuple[Any, ...], datetime]:
    found = ask(lake, "select order_minute, product_id, currency, _refreshed_at from gold.revenue_by_product_minute")
    return {(row["order_minute"], row["product_id"], row["currency"]): row["_refreshed_at"] for row in found}


def test_models_of_streams_that_are_not_there_are_left_out(lake: LakeSettings, tmp_path: Path) -> None:
    result = GoldProject(lake, tmp_path).run(
        "run", present={"users"}, select=["users_by_country_and_age", "strikes_by_species"]
    )
    assert result.models == ("users_by_country_and_age",)
    assert set(result.absent) == {"wildlife_strikes", "earthquakes", "orders"}


def test_the_refresher_waits_for_trino_and_ends_at_once(lake: LakeSettings, tmp_path: Path) -> None:
    away = {
        **os.environ,
        "SLUICE_TRINO_URL": "http://127.0.0.1:9",
        "SLUICE_STATE": str(tmp_path),
        "SLUICE_GOLD_PORT": "0",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "catalog.gold_refresh"], env=away, stdout=subprocess.PIPE, text=True
    ) as loop:
        assert loop.stdout is not None
        events = (json.loads(line)["event"] for line in loop.stdout)
        assert [next(events), next(events)] == ["started", "waiting"]
        loop.terminate()
        assert list(events) == ["stopping", "stopped"]
    assert loop.returncode == 0
