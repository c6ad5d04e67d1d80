"""What the lake holds, beside what the senders were told and what plain Python makes of bronze."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from catalog import query
from catalog.settings import LakeSettings
from tests.faults.load import Ledger


def ids(lake: LakeSettings, layer: str, stream: str, run: str) -> list[str]:
    """The event ids of a run in one table, as often as they are there."""
    column = "event_id" if layer == "bronze" else "_event_id"
    rows = query.rows(lake, f"select {column} as id from {layer}.{stream} where {column} like '{run}-%'")
    return [str(row["id"]) for row in rows]


def check_events(lake: LakeSettings, stream: str, run: str, ledger: Ledger) -> None:
    """Of an event stream: acknowledged ids are in bronze, and once in silver or quarantine; no others but unknown ones are."""
    bronze, judged = (
        ids(lake, "bronze", stream, run),
        ids(lake, "silver", stream, run) + ids(lake, "quarantine", stream, run),
    )
    assert not ledger.acknowledged - set(bronze), "acknowledged, and not in bronze"
    assert not ledger.acknowledged - set(judged), "acknowledged, and neither in silver nor in quarantine"
    assert len(judged) == len(set(judged)), "more than once in silver and quarantine"
    assert not ledger.refused & {*bronze, *judged}, "refused, and in the lake"
    assert not {*bronze, *judged} - ledger.acknowledged - ledger.unknown, "in the lake, and never sent"


def check_entities(lake: LakeSettings, stream: str, run: str, ledger: Ledger) -> None:
    """Of an entity stream: bronze has what was acknowledged, silver is what folding it gives, bad rows are in quarantine once."""
    rows = query.rows(
        lake,
        f'select from_utf8(payload) as body, event_id, "offset" as o from bronze.{stream} order by "partition", "offset"',
    )
    bronze = {row["event_id"] for row in rows}
    assert not ledger.acknowledged - bronze, "acknowledged, and not in bronze"
    assert not ledger.refused & bronze, "refused, and in bronze"
    latest, bad = folded(rows)
    held = query.rows(lake, f"select item, quantity, _event_id from silver.{stream}")
    assert {row["item"]: (row["quantity"], row["_event_id"]) for row in held} == latest
    assert len(held) == len(latest), "a key has more than one row"
    assert sorted(ids(lake, "quarantine", stream, run)) == sorted(event for event in bad if event.startswith(run))


def folded(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, tuple[int, str]], set[str]]:
    """Silver's rows by key, and the ids of bad rows. A key has one partition, so that its rows come in order."""
    seen: set[str] = set()
    bad: set[str] = set()
    latest: dict[str, tuple[datetime, int, int, str]] = {}
    for row in rows:
        body = json.loads(row["body"])
        if row["event_id"] in seen:
            continue
        seen.add(row["event_id"])
        if body["quantity"] >= 1_000:
            bad.add(row["event_id"])
            continue
        rank = (datetime.fromisoformat(body["at"]), row["o"])
        if body["item"] not in latest or rank >= latest[body["item"]][:2]:
            latest[body["item"]] = (*rank, body["quantity"], row["event_id"])
    return {item: found[2:] for item, found in latest.items()}, bad
