"""Maintenance on real tables: killed at each of its steps, and while somebody else deletes or rewrites. Below a stream under
load it is tested by the fault suite."""

import dataclasses
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from structlog.testing import capture_logs

from catalog import ops_tables, query
from catalog.lake import open_catalog
from catalog.maintenance import expiry, replace, rounds, work
from catalog.maintenance.faults import POINTS
from catalog.maintenance.inventory import Inventories
from catalog.maintenance.java import JavaTables
from catalog.maintenance.orphans import listed, orphans
from catalog.maintenance.tools import COMPACT, DONE, Tools
from catalog.names import P_OFFSETS
from catalog.ops_tables import MAINTENANCE
from catalog.progress import encode_offsets, table_progress
from catalog.settings import LakeSettings
from catalog.tables import PROPERTIES
from catalog.turns import Turns, taken
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack

OFFSETS = {0: 10, 1: 20}
SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("name", pa.string())])
# A round without safe ages, on a table to which nobody else writes.
AT_ONCE = """
import sys
from tests.integration.test_maintenance import at_once
at_once(sys.argv[1])
"""


def at_once(identifier: str) -> None:
    """In a process of its own, which may be killed within."""
    from catalog.settings import lake_settings

    expiry.KEEP = 1
    tools = rounds.tools_for(lake_settings())
    bare = tools.settings.model_copy(update={"orphan_hours": 0.0, "snapshot_age": 0.0})
    with closing(tools.java):
        done = rounds.one_round(dataclasses.replace(tools, settings=bare), [identifier], lambda _: True)
    assert all(one.outcome != "failed" for one in done), done


@pytest.fixture
def catalog(lake: LakeSettings) -> SqlCatalog:
    return open_catalog(lake)


@pytest.fixture
def table(catalog: SqlCatalog) -> Iterator[Table]:
    """A table of this test's own, where the stack's maintenance does not come; only its first commit carries offsets."""
    made = catalog.create_table(f"gold.kept_{uuid.uuid4().hex[:8]}", SCHEMA, properties=PROPERTIES)
    add(made, range(10), {P_OFFSETS: encode_offsets(OFFSETS)})
    yield made
    catalog.drop_table(made.name())


@pytest.fixture
def tools(lake: LakeSettings) -> Iterator[Tools]:
    made = rounds.tools_for(lake)
    with closing(made.java):
        yield made


def add(table: Table, numbers: range, facts: dict[str, str] | None = None) -> None:
    rows = pa.Table.from_pylist([{"n": n, "name": f"row {n}"} for n in numbers], schema=SCHEMA)
    table.append(rows, snapshot_properties=facts or {})


def identifier(table: Table) -> str:
    return ".".join(table.name())


def numbers(lake: LakeSettings, table: Table) -> list[int]:
    """What Trino reads."""
    return sorted(row["n"] for row in query.rows(lake, f"select n from {identifier(table)}"))


def test_a_kill_at_any_step_leaves_the_rows_and_the_offsets(stack: Stack, lake: LakeSettings, table: Table) -> None:
    environment = {**os.environ, **stack.environ(), **stack.env(), "PYTHONPATH": "."}
    wanted = list(range(10))

    def run(**more: str) -> int:
        command = [sys.executable, "-c", AT_ONCE, identifier(table)]
        return subprocess.run(
            command, env={**environment, **more}, cwd=Path(__file__).parents[2], check=False
        ).returncode

    for step, where in enumerate(POINTS[: POINTS.index("within-orphans")]):
        for part in range(6):
            start = 100 * step + 10 * part + 10
            add(table, range(start, start + 10))
            wanted += range(start, start + 10)
        query.rows(lake, f"delete from {identifier(table)} where n = {wanted.pop()}")
        assert run(SLUICE_MAINTENANCE_KILL_AT=where) == -9, where
        assert numbers(lake, table) == wanted, where
        table.refresh()
        assert table_progress(table).offsets == OFFSETS, where


def test_a_reader_that_holds_an_old_snapshot_reads_on(lake: LakeSettings, table: Table, tools: Tools) -> None:
    for part in range(1, 30):
        add(table, range(10 * part, 10 * part + 10))
    old = table.refresh().current_snapshot()
    assert old is not None
    done = rounds.one_round(tools, [identifier(table)], lambda _: True)
    assert [(one.action, one.outcome) for one in done if one.action == COMPACT] == [(COMPACT, DONE)]
    add(table, range(300, 310))
    rounds.one_round(tools, [identifier(table)], lambda _: True)
    found = query.rows(lake, f"select count(*) as n from {identifier(table)} for version as of {old.snapshot_id}")
    assert found[0]["n"] == 300
    assert len(numbers(lake, table)) == 310
    kept = ops_tables.recent(tools.catalog, MAINTENANCE, timedelta(hours=1)).to_pylist()
    assert (30, 1, DONE) in {
        (row["files_before"], row["files_after"], row["outcome"]) for row in kept if row["table"] == identifier(table)
    }


def test_rows_that_are_deleted_while_they_are_merged_stay_deleted(
    lake: LakeSettings, table: Table, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Iceberg refuses the first try, since the delete came after the look at the table; the second carries it over."""
    for part in range(1, 8):
        add(table, range(10 * part, 10 * part + 10))
    query.rows(lake, f"delete from {identifier(table)} where n in (3, 33)")
    left = [n for n in range(80) if n not in (3, 33)]
    steps: list[str] = []

    def meanwhile(step: str) -> None:
        steps.append(step)
        if steps.count("before-commit") == 1 and step == "before-commit":
            query.rows(lake, f"delete from {identifier(table)} where n in (2, 34, 79)")

    monkeypatch.setattr(replace, "point", meanwhile)
    (done,) = work.compact(tools, identifier(table))
    assert (done.outcome, done.detail) == (DONE, "try 2")
    assert numbers(lake, table) == [n for n in left if n not in (2, 34, 79)]
    inventory = Inventories().of(table.refresh())
    assert (len(inventory.data), len(inventory.deletes)) == (1, 1)
    assert table_progress(table).offsets == OFFSETS


def test_a_compaction_gets_its_turn_beside_a_stream_that_deletes_all_the_time(
    lake: LakeSettings, table: Table, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a turn it would lose each of its tries, as it did beside steady updates, and files would pile up."""
    for part in range(1, 8):
        add(table, range(10 * part, 10 * part + 10))
    query.rows(lake, f"delete from {identifier(table)} where n = 79")
    turns, left = Turns(lake), list(range(79))

    def meanwhile(step: str) -> None:
        if step == "before-commit" and not turns.is_taken(identifier(table)):
            query.rows(lake, f"delete from {identifier(table)} where n = {left.pop()}")

    monkeypatch.setattr(replace, "point", meanwhile)
    (done,) = work.compact(tools, identifier(table))
    assert (done.outcome, done.detail) == (DONE, "try 2")
    assert numbers(lake, table) == left == list(range(78))
    assert not turns.is_taken(identifier(table)), "it is given back"


def begun(turns: Turns, table: str) -> None:
    """A batch that is over at once."""
    with turns.batch(table):
        pass


def test_a_stream_gives_way_but_not_for_ever(lake: LakeSettings) -> None:
    one, patient, hasty = (uuid.uuid4().hex for _ in range(3))
    turns = Turns(lake, patience=600)
    begun(turns, one)
    with ThreadPoolExecutor(1) as pool:
        with taken(lake, one):
            begun(turns, patient)
            waiting = pool.submit(begun, turns, one)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
        waiting.result(60)
    soon = Turns(lake, patience=0)
    with taken(lake, hasty), capture_logs() as told:
        begun(soon, hasty)
        begun(soon, hasty)
    assert [line["table"] for line in told] == [hasty], "the second time it does not even wait"
    with taken(lake, hasty), capture_logs() as told:
        begun(soon, hasty)
    assert not told, "who was unheeded is heeded again only when a look has found that it let go"
    begun(soon, hasty)
    with taken(lake, hasty), capture_logs() as told:
        begun(soon, hasty)
    assert told
    begun(Turns(lake.model_copy(update={"catalog_uri": "postgresql://nobody@127.0.0.1:1/lake"})), one)


def test_a_turn_waits_for_the_batch_that_is_under_way_but_not_for_ever(lake: LakeSettings) -> None:
    name, turns, next_one, over = uuid.uuid4().hex, Turns(lake), Turns(lake), threading.Event()

    def turn() -> bool:
        with taken(lake, name, patience=600):
            return over.is_set() and next_one.is_taken(name)

    with ThreadPoolExecutor(1) as pool:
        with turns.batch(name):
            assert not next_one.is_taken(name)
            waiting = pool.submit(turn)
            eventually(lambda: next_one.is_taken(name), 60, "who waits comes before the next batch")
            with next_one.batch(uuid.uuid4().hex), taken(lake, uuid.uuid4().hex):
                assert not waiting.done(), "other tables are not held up"
            with capture_logs() as told, taken(lake, name, patience=0):
                assert [line["table"] for line in told] == [name], "a stream that was paused stops nobody"
            over.set()
        assert waiting.result(60), "after the batch, and before any other"
    assert not next_one.is_taken(name)


def test_a_turn_is_free_as_soon_as_it_was_given_back(lake: LakeSettings) -> None:
    name, turns = uuid.uuid4().hex, Turns(lake)
    for _ in range(100):
        with taken(lake, name):
            assert turns.is_taken(name)
        assert not turns.is_taken(name)


def test_of_a_commit_that_is_made_nothing_is_kept(table: Table, tools: Tools) -> None:
    """Java's object held Python's and Python's Java's, with all that a commit reads, until the JVM was full."""
    for part in range(1, 10):
        add(table, range(10 * part, 10 * part + 10))
    (merged, *_) = rounds.one_round(tools, [identifier(table)], lambda _: False)
    assert (merged.action, merged.outcome) == (COMPACT, DONE)
    gateway = tools.java._gateway
    held = gateway.gateway_property.pool.dict

    def nothing_is_held() -> bool:
        gateway.jvm.System.gc()
        return not held

    eventually(nothing_is_held, 30, "Java lets go of what it called back")


def test_a_jvm_that_has_died_is_started_again(lake: LakeSettings) -> None:
    nothing = expiry.Cut(0, 1, 1)
    with closing(JavaTables(lake)) as java:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"NoSuchTableException: Table does not exist: silver\.none"):
                java.expire("silver.none", nothing)
            # The youngest: another test's may not have ended yet.
            jvm = max(psutil.Process().children(), key=lambda child: child.create_time())
            assert "py4j.GatewayServer" in jvm.cmdline()
            jvm.kill()
            jvm.wait()
            with pytest.raises(RuntimeError, match="the JVM beside maintenance has ended"):
                java.expire("silver.none", nothing)


def test_files_that_somebody_else_rewrote_meanwhile_are_left_alone(
    lake: LakeSettings, table: Table, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in range(1, 8):
        add(table, range(10 * part, 10 * part + 10))

    def meanwhile(step: str) -> None:
        if step == "before-commit":
            query.rows(lake, f"alter table {identifier(table)} execute optimize")

    monkeypatch.setattr(replace, "point", meanwhile)
    (done,) = work.compact(tools, identifier(table))
    assert done.outcome == "conflict"
    assert numbers(lake, table) == list(range(80))
    every = listed(tools.files, table.location(), timedelta(0), datetime.now(UTC) + timedelta(hours=1)).old
    lost = orphans(table.refresh(), Inventories(), every)
    assert not [path for path in lost if "/data/" in path], "what was merged in vain is removed at once"
