"""The contracts are right about the data: every figure that they state is counted again here, from the raw files."""

import csv
import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from catalog.contract import Stream
from catalog.json_schema import json_schema
from catalog.odcs import load_contract, load_contracts
from infra.demo.generate import Record, orders, users

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "catalog" / "contracts"
DATA = ROOT / "infra" / "demo" / "data"
STREAMS = load_contracts(CONTRACTS)


def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json_schema(STREAMS[name]), validate_formats=True)


def told(stream: Stream, column: str | None = None) -> str:
    """What the contract says of the stream or a column, without the separators of thousands."""
    text = stream.column(column).description if column else f"{stream.description} {stream.limitations}"
    return re.sub(r"(?<=\d),(?=\d{3})", "", text)


@pytest.fixture(scope="module")
def strikes() -> list[dict[str, str]]:
    with (DATA / "birdstrikes.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def quakes() -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = json.loads((DATA / "earthquakes.json").read_text())["features"]
    return features


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
class TestEachContract:
    def test_says_what_it_is_for_and_what_is_wrong_with_it(self, stream: Stream) -> None:
        assert stream.source is not None
        text = stream.source.read_text()
        assert all(word in text for word in ("purpose:", "usage:", "limitations:", "apiVersion: v3.2.0"))
        assert stream.tags
        assert stream.freshness_seconds
        assert stream.event_time
        assert re.search(r"\d", stream.limitations)

    def test_describes_each_column_with_an_example_that_it_takes(self, stream: Stream) -> None:
        for column in stream.columns:
            assert column.description, column.name
            assert column.title, column.name
            alone = Stream("s", "1", "", "", "event", (column,))
            check = jsonschema_rs.Draft202012Validator(json_schema(alone), validate_formats=True)
            examples = column.examples or column.allowed
            assert examples, column.name
            for example in examples:
                value: Any = example
                for step in reversed(column.pointer):
                    value = [None] * step + [value] if isinstance(step, int) else {step: value}
                errors = [e.message for e in check.iter_errors(value) if example in (e.instance, value)]
                assert not errors, (column.name, errors)


def test_the_four_streams_are_there() -> None:
    assert list(STREAMS) == ["earthquakes", "orders", "users", "wildlife_strikes"]
    assert {name for name, stream in STREAMS.items() if stream.kind == "entity"} == {"users"}


class TestWildlifeStrikes:
    STREAM = STREAMS["wildlife_strikes"]

    def test_headers_of_the_file_are_business_names(self, strikes: list[dict[str, str]]) -> None:
        assert [column.title for column in self.STREAM.columns] == list(strikes[0])

    def test_totals(self, strikes: list[dict[str, str]]) -> None:
        said = told(self.STREAM)
        dates = [row["Flight Date"] for row in strikes]
        groups = [n for n in Counter(tuple(row.values()) for row in strikes).values() if n > 1]
        assert f"{len(strikes)} reports" in said
        assert (
            f"{len({row['Airport Name'] for row in strikes})} airports, {min(dates)} to {max(dates)}, sorted by date"
            in said
        )
        assert dates == sorted(dates)
        assert f"{sum(groups) - len(groups)} rows repeat another row" in said
        assert f"{len(groups)} different rows occur more than once, one of them {max(groups)} times" in said
        assert [n for n in groups if n > 2] == [5]
        hurt = [row for row in strikes if row["Effect Amount of damage"] != "None"]
        free = [row for row in hurt if row["Cost Total $"] == "0"]
        assert f"{len(free)} of the {len(hurt)} reports of some damage have no cost" in said

    def test_nothing_but_speed_is_missing(self, strikes: list[dict[str, str]]) -> None:
        empty = Counter(name for row in strikes for name, cell in row.items() if not cell)
        assert empty == {"Speed IAS in knots": 2836}
        assert "missing in 2836" in told(self.STREAM)
        assert "Missing in 2836" in told(self.STREAM, "speed_ias_knots")
        required = {column.title for column in self.STREAM.columns if column.required}
        assert required == set(strikes[0]) - set(empty)

    def test_damage_off_the_scale(self, strikes: list[dict[str, str]]) -> None:
        said = told(self.STREAM, "damage")
        counts = Counter(row["Effect Amount of damage"] for row in strikes)
        for value in ("None", "Minor", "Medium", "Substantial"):
            assert re.search(rf"{value} \({counts[value]}( reports)?\)", said), value
        assert f"C ({counts['C']}) or B ({counts['B']})" in said
        (rule,) = (rule for rule in self.STREAM.rules if rule.column == "damage")
        off = [row for row in strikes if row["Effect Amount of damage"] not in rule.allowed]
        assert (len(off), rule.severity) == (15, "error")
        assert {row["Aircraft Airline Operator"] for row in off} == {"MILITARY"}
        assert f"repair costs of {min(int(row['Cost Repair']) for row in off)} dollars" in said

    def test_costs(self, strikes: list[dict[str, str]]) -> None:
        costs = {name: [int(row[header]) for row in strikes] for name, header in
                 (("cost_other", "Cost Other"), ("cost_repair", "Cost Repair"), ("cost_total", "Cost Total $"))}  # fmt: skip
        assert all(a + b == c for a, b, c in zip(*costs.values(), strict=True))
        for name in ("cost_other", "cost_repair"):
            assert f"0 in {costs[name].count(0)} of 10000 reports" in told(self.STREAM, name)
            assert f"at most {max(costs[name])}" in told(self.STREAM, name)
        assert f"0 in {costs['cost_total'].count(0)}; the others add up to {sum(costs['cost_total'])}" in told(
            self.STREAM, "cost_total"
        )
        unhurt = [row for row in strikes if row["Effect Amount of damage"] == "None" and int(row["Cost Total $"])]
        repaired = sum(int(row["Cost Repair"]) > 0 for row in unhurt)
        (rule,) = (rule for rule in self.STREAM.rules if rule.name == "cost_without_damage")
        assert f"{len(unhurt)} reports, {repaired} of them" in rule.message

    @pytest.mark.parametrize(
        ("column", "header"),
        [("phase_of_flight", "Phase of flight"), ("wildlife_size", "Wildlife Size"), ("time_of_day", "Time of day")],
    )
    def test_counts_of_values(self, strikes: list[dict[str, str]], column: str, header: str) -> None:
        counts = Counter(row[header] for row in strikes)
        assert set(counts) <= set(self.STREAM.column(column).allowed)
        for value, count in counts.items():
            assert re.search(rf"{value} \(?{count}\b", told(self.STREAM, column)), value

    def test_words(self, strikes: list[dict[str, str]]) -> None:
        operators = Counter(row["Aircraft Airline Operator"] for row in strikes)
        assert f"{len(operators)} values" in told(self.STREAM, "operator")
        assert [name for name in operators if "*" in name] == ["US AIRWAYS*"]
        for name in ("MILITARY", "BUSINESS", "UNKNOWN", "PRIVATELY OWNED", "GOVERNMENT"):
            assert f"{name} ({operators[name]})" in told(self.STREAM, "operator")
        assert f'"US AIRWAYS*" ({operators["US AIRWAYS*"]} reports)' in told(self.STREAM, "operator")
        species = Counter(row["Wildlife Species"] for row in strikes)
        unknown = sum(count for name, count in species.items() if name.startswith("Unknown"))
        assert f"{len(species)} values, never missing, but {unknown} reports" in told(self.STREAM, "wildlife_species")
        assert f"unknown in {unknown} of 10000" in told(self.STREAM)
        models = Counter(row["Aircraft Make Model"] for row in strikes)
        assert f"{len(models)} spellings" in told(self.STREAM, "aircraft_make_model")
        assert f"B-737 {models['B-737']} times, B-737-300 {models['B-737-300']} times" in told(
            self.STREAM, "aircraft_make_model"
        )
        assert sum(count for name, count in models.items() if name.endswith("UNKN")) == 3
        states = {(row["Airport Name"], row["Origin State"]) for row in strikes}
        assert (len(states), len({state for _, state in states})) == (50, 29)
        slow = Counter(row["Phase of flight"] for row in strikes if row["Speed IAS in knots"] == "0")
        assert (sum(slow.values()), slow["Parked"], slow["Approach"], slow["Climb"]) == (19, 4, 6, 2)
        default = {row["Wildlife Size"] for row in strikes if row["Wildlife Species"] == "Unknown bird or bat"}
        assert default == {"Medium"}


class TestEarthquakes:
    STREAM = STREAMS["earthquakes"]

    def test_every_feature_keeps_the_contract(self, quakes: list[dict[str, Any]]) -> None:
        check = validator("earthquakes")
        assert [error.message for quake in quakes for error in check.iter_errors(quake)] == []

    def test_every_member_is_a_column(self, quakes: list[dict[str, Any]]) -> None:
        members: set[tuple[str | int, ...]] = {("properties", name) for name in quakes[0]["properties"]} | {("id",)}
        members |= {("geometry", "coordinates", n) for n in range(3)}
        assert {column.pointer for column in self.STREAM.columns} == members

    def test_totals(self, quakes: list[dict[str, Any]]) -> None:
        said = told(self.STREAM)
        times = sorted(datetime.fromtimestamp(quake["properties"]["time"] // 1000, UTC) for quake in quakes)
        assert f"{len(quakes)} events, {times[0]:%Y-%m-%d %H:%M:%S} to {times[-1]:%Y-%m-%d %H:%M:%S} UTC" in said
        assert len({quake["id"] for quake in quakes}) == len(quakes)
        kinds = Counter(quake["properties"]["type"] for quake in quakes)
        assert f"{len(quakes) - kinds['earthquake']} events are no earthquakes ({kinds['explosion']} explosions" in said
        assert f"{kinds['quarry blast']} quarry blasts" in said
        statuses = Counter(quake["properties"]["status"] for quake in quakes)
        assert f"{statuses['automatic']} events were still" in said
        assert f"Reviewed {statuses['reviewed']}, automatic {statuses['automatic']}, deleted 0" in told(
            self.STREAM, "status"
        )

    def test_what_is_missing(self, quakes: list[dict[str, Any]]) -> None:
        missing: Counter[str] = Counter()
        for quake in quakes:
            for column in self.STREAM.columns:
                value: Any = quake
                for step in column.pointer:
                    value = value[step]
                missing[column.name] += value is None
        stated = {name: count for name, count in missing.items() if count}
        assert stated == {
            "felt": 1580,
            "cdi": 1580,
            "mmi": 1691,
            "alert": 1695,
            "nst": 465,
            "dmin": 305,
            "rms": 5,
            "gap": 303,
        }
        for name, count in stated.items():
            assert str(count) in told(self.STREAM, name)
            assert str(count) in told(self.STREAM)
        assert not [column.name for column in self.STREAM.columns if column.required and missing[column.name]]

    def test_ranges(self, quakes: list[dict[str, Any]]) -> None:
        for name in ("mag", "tz", "sig", "cdi", "mmi", "nst", "dmin", "rms", "gap", "depth"):
            column = self.STREAM.column(name)
            values = [
                quake["properties"][name] if name != "depth" else quake["geometry"]["coordinates"][2]
                for quake in quakes
            ]
            known = [value for value in values if value is not None]
            assert f"{min(known)} to {max(known)}" in told(self.STREAM, name), name
            assert column.limits.minimum <= min(known)
        signs = [quake["properties"]["mag"] for quake in quakes]
        assert f"Negative ({sum(m < 0 for m in signs)}) and 0 ({signs.count(0)})" in told(self.STREAM, "mag")
        places = [quake["geometry"]["coordinates"] for quake in quakes]
        assert f"negative in the west ({sum(p[0] < 0 for p in places)} of 1707)" in told(self.STREAM, "longitude")
        assert f"negative in the south ({sum(p[1] < 0 for p in places)} of 1707)" in told(self.STREAM, "latitude")
        assert f"Negative in {sum(p[2] < 0 for p in places)} of 1707" in told(self.STREAM, "depth")

    def test_ids(self, quakes: list[dict[str, Any]]) -> None:
        assert all(quake["id"] == quake["properties"]["net"] + quake["properties"]["code"] for quake in quakes)
        assert all(quake["properties"]["updated"] > quake["properties"]["time"] for quake in quakes)
        several = sum(quake["properties"]["ids"].strip(",").count(",") > 0 for quake in quakes)
        assert f"{several} of 1707 have more than one" in told(self.STREAM, "ids")
        for name, count in (
            ("net", 12),
            ("magType", 7),
            ("title", 1541),
            ("place", 1219),
            ("sources", 28),
            ("types", 23),
        ):
            assert len({quake["properties"][name] for quake in quakes}) == count


class TestOrders:
    STREAM = STREAMS["orders"]
    RECORDS: tuple[Record, ...] = tuple(orders())

    def test_what_the_generator_makes_keeps_the_contract(self) -> None:
        check = validator("orders")
        assert [error.message for record in self.RECORDS for error in check.iter_errors(record)] == []
        assert tuple(orders()) == self.RECORDS

    def test_figures(self) -> None:
        said = told(self.STREAM)
        counts = Counter(record["order_id"] for record in self.RECORDS)
        unique = {record["order_id"]: record for record in self.RECORDS}
        assert f"Of the {len(self.RECORDS)} records" in said
        assert f"{len(self.RECORDS) - len(counts)} are resends" in said
        assert f"{sum('unit_price' not in o for o in unique.values())} of the demo's {len(unique)} orders" in said
        late = sum(
            a["timestamp"] < b["timestamp"]
            for b, a in zip(self.RECORDS, self.RECORDS[1:], strict=False)
            if counts[a["order_id"]] == 1
        )
        assert f"{late} arrive ten to forty minutes" in said
        real = {order["product_id"] for order in unique.values() if not order["product_id"].startswith("TEST")}
        assert f"{len(real)} products" in told(self.STREAM, "product_id")

    def test_rules_quarantine_a_few(self) -> None:
        unique = {record["order_id"]: record for record in self.RECORDS}.values()
        large = [order for order in unique if order["quantity"] > 1000]
        (no_test,) = (rule for rule in self.STREAM.rules if rule.name == "no_test_products")
        assert no_test.pattern is not None
        tests = [order for order in unique if not re.search(no_test.pattern, order["product_id"])]
        assert (len(large), len(tests)) == (6, 6)
        assert {order["product_id"][:4] for order in tests} == {"TEST"}

    @pytest.mark.parametrize(
        "wrong",
        [{"order_id": "7"}, {"product_id": "whey001"}, {"product_id": "WHEY1"}, {"quantity": 0}, {"quantity": 10_001},
         {"quantity": "2"}, {"quantity": 1.5}, {"timestamp": "2026-11-20 10:00"}, {"timestamp": None}, {"unit_price": -1},
         {"unit_price": 1.005}, {"currency": "euro"}],
    )  # fmt: skip
    def test_the_edge_refuses(self, wrong: dict[str, Any]) -> None:
        good = self.RECORDS[0]
        check = validator("orders")
        assert check.is_valid({name: good[name] for name in ("order_id", "product_id", "quantity", "timestamp")})
        assert not check.is_valid({**good, **wrong})


class TestUsers:
    STREAM = STREAMS["users"]
    RECORDS: tuple[Record, ...] = tuple(users())

    def test_what_the_generator_makes_keeps_the_contract(self) -> None:
        check = validator("users")
        assert [error.message for record in self.RECORDS for error in check.iter_errors(record)] == []
        assert tuple(users()) == self.RECORDS

    def test_figures(self) -> None:
        said = told(self.STREAM)
        newest: dict[str, str] = {}
        overtaken = 0
        for record in self.RECORDS:
            overtaken += record["updated_at"] < newest.get(record["user_id"], "")
            newest[record["user_id"]] = max(record["updated_at"], newest.get(record["user_id"], ""))
        updates = len(self.RECORDS) - len(newest)
        assert (
            f"Of {len(self.RECORDS)} records {len(newest)} are first states and {updates} are updates, {overtaken} of which"
            in said
        )
        for name in ("phone", "gender", "date_of_birth"):
            absent = sum(name not in record for record in self.RECORDS)
            assert re.search(rf"\b{name} in {absent}\b", said), name

    def test_nobody_is_real(self) -> None:
        for record in self.RECORDS:
            assert re.search(r"@example\.(com|org|net)$", record["email"])
            assert record["picture"].startswith("https://example.com/")
        fiction = (
            r"\+49 30 23125 \d{3}|\+44 1632 960\d{3}|\+1 617-555-01\d\d|"
            r"\+33 1 99 00 \d\d \d\d|\+46 8 465 004 \d\d|\+61 2 5550 \d{4}"
        )
        assert all(re.fullmatch(fiction, record["phone"]) for record in self.RECORDS if "phone" in record)
        assert any(record["postcode"].startswith("0") for record in self.RECORDS)

    def test_personal_data_is_classified(self) -> None:
        open_columns = {
            column.name for column in self.STREAM.columns if column.classification not in ("restricted", "confidential")
        }
        assert open_columns == {"user_id", "country", "registered", "updated_at"}


def test_the_example_is_a_contract_that_takes_its_own_examples() -> None:
    stream = load_contract(ROOT / "docs/examples/air_quality.odcs.yaml")
    check = jsonschema_rs.Draft202012Validator(json_schema(stream), validate_formats=True)
    assert check.is_valid({column.name: column.examples[0] for column in stream.columns})
