"""`sluice check` over tables of a running stack: what is kept, what is broken, and what can't be computed beside the others."""

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalog import query
from catalog.settings import LakeSettings
from ingest_gateway.client import Event
from tests.stack import WAIT, Stack
from tests.streams import add_stream, send

pytestmark = pytest.mark.stack
CHECKS = """
      - {name: enough, metric: rowCount, mustBeGreaterThan: 50}
      - {name: items_repeat, metric: duplicateValues, arguments: {properties: [item, quantity]}, mustBe: 0}
      - {name: of_this_year, type: custom, engine: sql, implementation: "year(at) = 2026", severity: warning}
      - {name: no_such_function, type: custom, engine: sql, implementation: "soundslike(item) = 'x'", severity: warning}
      - {name: newest, type: sql, query: "select max(quantity) from ${table}", mustBeLessThan: 20}
      - {name: two_values, type: sql, query: "select quantity from {table}", mustBe: 1}
      - {name: shut, type: sql, query: "select count(*) from silver.no_such_table", mustBe: 0, severity: warning}
"""


def checked(stack: Stack, *options: str, code: int) -> list[dict[str, Any]]:
    done = stack.run("check", "--json", *options)
    assert done.returncode == code, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_each_rule_is_judged_over_the_whole_table(stack: Stack, contracts: Path, lake: LakeSettings) -> None:
    name = f"checked_{uuid.uuid4().hex[:8]}"
    add_stream(stack, contracts, name)
    path = contracts / f"{name}.odcs.yaml"
    try:
        # 60 rows of 12 items; in silver before the rules below are in the contract.
        send(stack, name, [Event(f"{name}-{n}", orjson.dumps({
            "item": f"{n % 12}", "quantity": n % 12, "at": f"{2025 + n % 2}-01-01T00:00:00Z",
        })) for n in range(60)])  # fmt: skip
        stack.sluice("verify", "--wait", WAIT, "--stream", name)
        path.write_text(path.read_text() + CHECKS.lstrip("\n"))
        found = checked(stack, "--stream", name, code=1)
        assert [(one["rule"], one["outcome"], one["value"], one["rows"]) for one in found] == [
            ("plausible", "kept", 0, 60),
            ("of_this_year", "broken", 30, 60),
            ("no_such_function", "failed", None, None),
            ("enough", "kept", 60, 60),
            ("items_repeat", "broken", 48, 60),
            ("newest", "kept", 11, None),
            ("two_values", "failed", None, None),
            ("shut", "failed", None, None),
        ]
        why = {one["rule"]: one["detail"] for one in found}
        assert "soundslike" in why["no_such_function"]
        assert "one row of one column" in why["two_values"]
        assert "no_such_table" in why["shut"]
        kept = query.rows(lake, "select rule, outcome, value from ops.checks where stream = ?", [name])
        assert {(row["rule"], row["outcome"], row["value"]) for row in kept} == {
            (one["rule"], one["outcome"], one["value"]) for one in found
        }
        # Of the rows of one day: here all of them, by a statement that has the condition.
        assert checked(stack, "--stream", name, "--days", "1", code=1)[0]["rows"] == 60
        for_people = stack.run("check", "--stream", name)
        assert for_people.returncode == 1
        assert f"{name}: items_repeat: breaks the rule items_repeat" in for_people.stdout
    finally:
        path.unlink()


def test_the_streams_that_come_with_it_keep_their_rules(stack: Stack) -> None:
    streams = ["orders", "users", "earthquakes", "wildlife_strikes"]
    found = checked(stack, *(option for name in streams for option in ("--stream", name)), code=0)
    assert [name for name in streams if name in {one["stream"] for one in found}] == streams
    assert {one["outcome"] for one in found} <= {"kept", "broken"}, "each can be said in Trino's words"


def test_bad_wishes_are_told(stack: Stack) -> None:
    done = stack.run("check", "--stream", "no_such_stream")
    assert done.returncode == 2
    assert "There is no stream no_such_stream" in done.stderr
    nowhere = replace(stack, settings={**stack.settings, "SLUICE_TRINO_URL": "http://127.0.0.1:9"})
    away = nowhere.run("check", "--stream", "orders")
    assert away.returncode == 2
    assert "it could not be checked: Trino does not answer" in away.stderr
    assert "Traceback" not in away.stderr
