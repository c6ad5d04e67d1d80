"""A check of the checker: rows are removed, doubled and altered behind the stream job's back, in every layer, and each is named."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalog import query
from catalog.lake import open_catalog
from catalog.ops_tables import LEDGER
from catalog.settings import LakeSettings
from ingest_gateway.client import Event
from tests.stack import WAIT, Stack, eventually
from tests.streams import add_stream, send

pytestmark = pytest.mark.stack
Found = set[tuple[str, str, int | None, str]]
PLACE = "_kafka_partition = {p} and _kafka_offset = {o}"


def events(name: str, count: int, *, keys: int) -> list[Event]:
    """Each 4th is bad; one key a row, or fewer."""
    return [
        Event(f"{name}-{n}", orjson.dumps({
            "item": f"{n % keys}", "quantity": 5000 if n % 4 == 0 else n % 100, "at": "2026-01-01T00:00:00Z",
        }))
        for n in range(count)
    ]  # fmt: skip


def checked(stack: Stack, name: str, *options: str, code: int = 1) -> dict[str, Any]:
    """The stream's report."""
    done = stack.run("verify", "--json", "--wait", "0", "--stream", name, *options)
    assert done.returncode == code, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)[0]
    return report


def found(report: dict[str, Any]) -> Found:
    """(kind, layer, partition, range) of each deviation, one for each range."""
    return {
        (one["kind"], one["table"].partition(".")[0], one["partition"], ranged)
        for one in report["deviations"]
        for ranged in one["offsets"] or [""]
    }


@pytest.fixture(params=["event", "entity"])
def tampered(request: pytest.FixtureRequest, stack: Stack, contracts: Path, lake: LakeSettings) -> Iterator[str]:
    """A stream of this test's own with 60 events."""
    name = f"tampered_{request.param}_{uuid.uuid4().hex[:8]}"
    add_stream(stack, contracts, name, entity=request.param == "entity")
    send(stack, name, events(name, 60, keys=1000))
    stack.sluice("verify", "--deep", "--wait", WAIT, "--stream", name)
    yield name
    (contracts / f"{name}.odcs.yaml").unlink()


def places(lake: LakeSettings, table: str) -> list[dict[str, int]]:
    return query.rows(lake, f"select _kafka_partition as p, _kafka_offset as o from {table} order by 2, 1")


def test_rows_that_were_tampered_with_are_named(tampered: str, stack: Stack, lake: LakeSettings) -> None:
    name = tampered
    silver, bad = places(lake, f"silver.{name}"), places(lake, f"quarantine.{name}")
    gone, twice, changed, orphan, moved = silver[0], silver[2], silver[4], silver[6], silver[8]
    hidden, altered, doubled = bad[0], bad[2], bad[4]
    for sql, where in (
        (f"delete from silver.{name} where {PLACE}", gone),
        (f"insert into silver.{name} select * from silver.{name} where {PLACE}", twice),
        (f'delete from bronze.{name} where "partition" = {{p}} and "offset" = {{o}}', orphan),
        (f"delete from quarantine.{name} where {PLACE}", hidden),
        (f"insert into quarantine.{name} select * from quarantine.{name} where {PLACE}", doubled),
        (f"update silver.{name} set _kafka_offset = 999999 where {PLACE}", moved),
    ):
        query.rows(lake, sql.format(**where))

    def at(place: dict[str, int]) -> tuple[int, str]:
        return place["p"], f"{place['o']}-{place['o']}"

    by_numbers: Found = {
        ("doubled", "silver", *at(twice)),
        ("missing", "bronze", *at(orphan)),
        ("unexpected", "silver", *at(orphan)),
        ("doubled", "quarantine", *at(doubled)),
        ("unexpected", "silver", moved["p"], "999999-999999"),
        *(("unexpected", layer, None, "") for layer in ("bronze", "quarantine", "silver")),
    }
    if "_event_" in name:  # of an entity it may have been superseded: only a fold can tell
        by_numbers |= {("missing", "silver", *at(place)) for place in (gone, moved, hidden)}
    quick = found(checked(stack, name))
    assert not by_numbers - quick
    for sql, where in (
        (f"update silver.{name} set quantity = quantity + 1 where {PLACE}", changed),
        (f"update quarantine.{name} set payload = to_utf8('{{{{}}}}') where {PLACE}", altered),
        (f'update bronze.{name} set producer = \'x\' where "partition" = {{p}} and "offset" = {{o}}', silver[10]),
    ):
        query.rows(lake, sql.format(**where))
    deep = found(checked(stack, name, "--deep"))
    assert not by_numbers - deep
    by_content: Found = {
        ("missing", "silver", *at(gone)),
        ("altered", "silver", *at(changed)),
        ("altered", "quarantine", *at(altered)),
        ("altered", "bronze", *at(silver[10])),
    }
    assert not by_content - deep
    told = query.rows(
        lake, f"select mode, outcome, count(*) as n from {LEDGER} where stream = '{name}' group by mode, outcome"
    )
    assert {("deep", "exact"), ("quick", "missing"), ("deep", "altered")} <= {(r["mode"], r["outcome"]) for r in told}


def test_compaction_by_anybody_is_no_deviation_and_no_tag_is_left(
    tampered: str, stack: Stack, lake: LakeSettings
) -> None:
    name = tampered
    send(stack, name, events(f"{name}-more", 20, keys=7))
    stack.sluice("verify", "--wait", WAIT, "--stream", name)
    for layer in ("bronze", "silver", "quarantine"):
        query.rows(lake, f"alter table {layer}.{name} execute optimize")
    checked(stack, name, code=0)
    checked(stack, name, "--deep", code=0)
    catalog = open_catalog(lake)
    assert not [ref for ref in catalog.load_table(f"silver.{name}").refs() if ref != "main"]


def test_a_stored_gold_model_is_recomputed(stack: Stack, lake: LakeSettings) -> None:
    body = {"product_id": "VERI009", "quantity": 1, "unit_price": 2.5, "timestamp": "2026-03-04T05:06:07Z"}
    ids = [str(uuid.uuid4()) for _ in range(3)]
    orders = [Event(order, orjson.dumps({**body, "order_id": order})) for order in ids]
    send(stack, "orders", orders)
    stack.sluice("verify", "--wait", WAIT, "--stream", "orders")
    assert stack.run("verify", "--deep", "--wait", WAIT, "--stream", "orders").returncode == 0
    table = "gold.revenue_by_product_minute"
    there = f"select 1 as there from {table} where product_id = 'VERI009'"
    eventually(lambda: query.rows(lake, there), 120, "gold has the orders")
    good = query.rows(lake, "select snapshot_id from gold.\"revenue_by_product_minute$refs\" where name = 'main'")[0][
        "snapshot_id"
    ]
    for sql, kind in (
        (f"update {table} set units = units + 1 where product_id = 'VERI009'", "altered"),
        (f"insert into {table} select * from {table} where product_id = 'VERI009'", "doubled"),
    ):
        query.rows(lake, sql)
        done = stack.run("verify", "--deep", "--json", "--wait", "30", "--stream", "orders")
        query.rows(lake, f"alter table {table} execute rollback_to_snapshot({good})")
        assert done.returncode == 1, done.stderr
        assert (kind, table) in {(one["kind"], one["table"]) for one in json.loads(done.stdout)[-1]["deviations"]}


def test_what_could_not_be_checked_is_no_deviation(stack: Stack, lake: LakeSettings) -> None:
    done = stack.run("verify", "--stream", "no_such_stream")
    assert done.returncode == 2
    assert "There is no stream no_such_stream" in done.stderr
