"""The stream job is killed between its commits, with its checkpoint gone; a second writer comes between.
Nothing is lost, nothing doubles, and `verify` says so. That it finds what is wrong is tested in `test_verify`."""

import dataclasses
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psutil
import pyarrow as pa
import pytest
from py4j import java_gateway
from pyspark.sql import SparkSession

from catalog import query
from catalog.ancestry import FILES_STAY
from catalog.lake import file_system, open_catalog
from catalog.progress import Progress, Totals
from catalog.settings import LakeSettings, read_settings
from ingest_gateway.client import Event
from stream_jobs.commit import NEEDLESS, FencedError, FilesLateError, LakeTable, RowsMovedError
from stream_jobs.faults import POINTS
from stream_jobs.files import Position, TableFiles
from stream_jobs.session import make_session
from stream_jobs.settings import StreamSettings
from tests.drivers import Own, reason
from tests.long import chosen
from tests.stack import WAIT, Stack, eventually
from tests.streams import add_stream, holds_exactly, send, some_events

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def pair(stack: Stack, contracts: Path, lake: LakeSettings) -> tuple[str, str]:
    """An event stream and an entity stream that take rows already."""
    names = ("kill_events", "kill_entities")
    for name in names:
        add_stream(stack, contracts, name, entity=name.endswith("entities"))
        send(stack, name, some_events(f"first-{name}", 0, 60))
        stack.sluice("verify", "--wait", WAIT, "--stream", name)
    return names


@pytest.mark.parametrize("where", chosen(POINTS, "after-bronze", "validated-silver"))
def test_a_kill_between_commits_with_the_checkpoint_deleted(
    where: str, stack: Stack, pair: tuple[str, str], lake: LakeSettings
) -> None:
    scratch = stack.state / "stream"
    run = uuid.uuid4().hex
    before = stack.pid("stream")
    (scratch / "kill-at").write_text(where)
    for name in pair:
        send(stack, name, some_events(run, 0, 300))
    eventually(lambda: not (scratch / "kill-at").exists(), 60, f"the job is killed at {where}")
    for checkpoint in scratch.glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
    for name in pair:  # and more comes in while it is away
        send(stack, name, some_events(run, 300, 100))
    stack.await_ready("stream", other_than=before)
    reports = json.loads(stack.sluice("verify", "--deep", "--json", "--wait", WAIT, "-s", pair[0], "-s", pair[1]))
    assert not [found for report in reports for found in report["deviations"]]
    holds_exactly(lake, pair[0], run, some_events(run, 0, 300) + some_events(run, 300, 100))


def test_entities_equal_a_reference_fold(pair: tuple[str, str], lake: LakeSettings) -> None:
    """The rows of bronze folded here, in plain Python, are silver's."""
    rows = query.rows(
        lake,
        f'select from_utf8(payload) as body, event_id, "partition" as p, "offset" as o from bronze.{pair[1]} order by 3, 4',
    )
    seen: set[str] = set()
    latest: dict[str, tuple[str, int, int]] = {}
    for row in rows:
        body = json.loads(row["body"])
        if row["event_id"] in seen or body["quantity"] >= 1000:
            continue
        seen.add(row["event_id"])
        if body["item"] not in latest or (body["at"], row["o"]) >= latest[body["item"]][:2]:
            latest[body["item"]] = (body["at"], row["o"], body["quantity"])
    held = query.rows(lake, f"select item, quantity from silver.{pair[1]}")
    assert {row["item"]: row["quantity"] for row in held} == {item: value[2] for item, value in latest.items()}
    assert len(held) == len(latest)


def test_a_kill_of_any_server_loses_nothing(stack: Stack, pair: tuple[str, str]) -> None:
    for part in ("gateway", "kafka", "minio", "postgres", "trino"):
        before = stack.pid(part)
        stack.kill(part)
        stack.await_ready(part, other_than=before)
    send(stack, pair[0], some_events(uuid.uuid4().hex, 0, 100))
    stack.sluice("verify", "--wait", WAIT, "-s", pair[0], "-s", pair[1])


def test_a_job_starts_from_the_classes_that_one_before_it_kept(stack: Stack) -> None:
    """The first job that ends by itself keeps them in a file, so that a start need not read all jars again."""
    before = stack.pid("stream")
    stack.sluice("restart", "stream")
    stack.await_ready("stream", other_than=before)
    (jvm,) = (child for child in psutil.Process(stack.pid("stream")).children(True) if child.name() == "java")
    assert any("spark-" in mapped.path and mapped.path.endswith(".jsa") for mapped in jvm.memory_maps())


@pytest.fixture(scope="module")
def spark(lake: LakeSettings) -> Iterator[SparkSession]:
    """A Spark session of the test's own on the stack's lake, as a second driver would have."""
    # Spark's session has py4j tell every failure in Spark's words, also those of other JVMs that this process has later.
    plainly = java_gateway.get_return_value
    session = make_session(lake, read_settings(StreamSettings), "test")
    command = Path(f"/proc/{session.sparkContext._gateway.proc.pid}/cmdline").read_text()
    assert "SparkSubmit" in command
    assert lake.s3_secret_key not in command, "anybody on the machine may read it"
    yield session
    session.stop()
    java_gateway.get_return_value = plainly


def test_of_two_writers_on_one_state_the_second_is_fenced_off(
    stack: Stack, contracts: Path, lake: LakeSettings, spark: SparkSession
) -> None:
    stream = add_stream(stack, contracts, f"fenced_{uuid.uuid4().hex[:8]}")
    identifier = f"silver.{stream.name}"
    (contracts / f"{stream.name}.odcs.yaml").unlink()  # the stack's own job must leave this table alone
    one, two = (LakeTable(spark, lake.catalog_name, identifier) for _ in range(2))
    base_one, base_two = one.progress(), two.progress()
    catalog = open_catalog(lake)
    with ThreadPoolExecutor(1) as pool:
        files = TableFiles(catalog.load_table(identifier), file_system(lake), pool)
        row = {"item": "a", "quantity": 1, "at": datetime.now(UTC), "_kafka_partition": 0, "_kafka_offset": 0}
        staged = [files.write(pa.Table.from_pylist([row])) for _ in range(3)]
    after = one.commit(staged[0], base_one, {0: 1}, Totals(rows=1, silver=1))
    snapshot = catalog.load_table(identifier).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert not set(NEEDLESS) & set(snapshot.summary.additional_properties), "each commit writes these words anew"
    with pytest.raises(FencedError, match=r'offsets \{"0":1\} where this one started from \{\}'):
        two.commit(staged[1], base_two, {0: 1}, Totals(rows=1, silver=1))
    assert query.rows(lake, f"select count(*) as n from {identifier}")[0]["n"] == 1
    assert two.progress() == after, "the loser sees the winner's state and can go on from there"
    # Somebody else's commit without offsets, as maintenance makes it, fences nobody off.
    query.rows(lake, f"alter table {identifier} execute optimize")
    two.commit(staged[2], two.progress(), {0: 2}, Totals(rows=2, silver=2))
    assert one.progress().offsets == {0: 2}


def test_files_that_lay_about_until_they_may_be_gone_as_orphans_are_not_committed(
    stack: Stack, contracts: Path, lake: LakeSettings, spark: SparkSession
) -> None:
    """So it is for a writer that was paused, alone and for a day, after it had written them."""
    stream = add_stream(stack, contracts, f"late_{uuid.uuid4().hex[:8]}")
    identifier = f"silver.{stream.name}"
    (contracts / f"{stream.name}.odcs.yaml").unlink()  # the stack's own job must leave this table alone
    table = LakeTable(spark, lake.catalog_name, identifier)
    with ThreadPoolExecutor(1) as pool:
        files = TableFiles(open_catalog(lake).load_table(identifier), file_system(lake), pool)
        staged = files.write(pa.Table.from_pylist([{"item": "a", "quantity": 1, "at": datetime.now(UTC)}]))
    old = dataclasses.replace(staged, written=time.time() - FILES_STAY - 1)
    with pytest.raises(FilesLateError, match="they are written again"):
        table.commit(old, table.progress(), {0: 1}, Totals(rows=1, silver=1))
    assert table.progress() == Progress()
    assert table.commit(staged, table.progress(), {0: 1}, Totals(rows=1, silver=1)).offsets == {0: 1}


def test_deletes_into_a_file_that_was_rewritten_meanwhile_are_refused_without_fencing_the_writer_off(
    stack: Stack, contracts: Path, lake: LakeSettings, spark: SparkSession
) -> None:
    stream = add_stream(stack, contracts, f"rewritten_{uuid.uuid4().hex[:8]}")
    identifier = f"silver.{stream.name}"
    (contracts / f"{stream.name}.odcs.yaml").unlink()  # the stack's own job must leave this table alone
    table = LakeTable(spark, lake.catalog_name, identifier)
    with ThreadPoolExecutor(1) as pool:
        files = TableFiles(open_catalog(lake).load_table(identifier), file_system(lake), pool)
        row = {"item": "a", "quantity": 1, "at": datetime.now(UTC), "_kafka_partition": 0, "_kafka_offset": 0}
        at = table.progress()
        for offset in (1, 2):
            staged = files.write(pa.Table.from_pylist([{**row, "_kafka_offset": offset}]))
            at = table.commit(staged, at, {0: offset}, Totals(rows=offset, silver=offset))
        file = orjson.loads(staged.files[0])
        deletes = files.delete([Position(file["file-path"], 0, file["spec-id"], tuple(file["partition"]))])
    query.rows(lake, f"alter table {identifier} execute optimize")
    with pytest.raises(RowsMovedError):
        table.commit(deletes, at, {0: 3}, Totals(rows=3, silver=1), at.snapshot_id)
    assert query.rows(lake, f"select count(*) as n from {identifier}")[0]["n"] == 2
    assert table.progress() == at


def events_of(stream: str, run: str, count: int = 20) -> list[Event]:
    """Good ones, each with an item of its own."""
    body = {"quantity": 1, "at": "2026-01-01T00:00:00Z"}
    return [Event(f"{stream}-{run}-{n}", orjson.dumps({**body, "item": f"{run}-{n}"})) for n in range(count)]


@pytest.fixture
def two_streams(stack: Stack, contracts: Path) -> Iterator[tuple[str, str]]:
    """Two streams of the test's own, which take rows."""
    names = (f"mended_{uuid.uuid4().hex[:8]}", f"steady_{uuid.uuid4().hex[:8]}")
    for name in names:
        add_stream(stack, contracts, name)
        send(stack, name, events_of(name, "first"))
        stack.sluice("verify", "--wait", WAIT, "--stream", name)
    yield names
    for name in names:
        (contracts / f"{name}.odcs.yaml").unlink()


def test_a_stream_whose_table_is_lost_is_set_aside_and_catches_up_once_mended(
    stack: Stack, lake: LakeSettings, two_streams: tuple[str, str]
) -> None:
    lost, steady = two_streams
    query.rows(lake, f"drop table silver.{lost}")
    for name in two_streams:
        send(stack, name, events_of(name, "second"))
    stack.sluice("verify", "--wait", WAIT, "--stream", steady)
    eventually(lambda: f"{lost} is set aside" in reason(Own(stack)), 60, "the stream is set aside by name")
    send(stack, steady, events_of(steady, "third"))
    stack.sluice("verify", "--wait", WAIT, "--stream", steady)
    stack.sluice("apply", "--no-gold")
    stack.sluice("verify", "--wait", WAIT, "--stream", lost)
    assert query.rows(lake, f"select count(*) as n from silver.{lost}")[0]["n"] == 40


def test_a_broken_contract_stops_its_own_stream_alone(
    stack: Stack, contracts: Path, two_streams: tuple[str, str]
) -> None:
    broken, _ = two_streams
    path = contracts / f"{broken}.odcs.yaml"
    good = path.read_text()
    path.write_text("schema: [")
    eventually(lambda: f"{broken} is set aside" in reason(Own(stack)), 60, "the stream is set aside by name")
    before = stack.pid("stream")
    stack.sluice("restart", "stream")  # a fresh start is no reason to stop for all either
    stack.await_ready("stream", other_than=before)
    for name in two_streams:
        send(stack, name, events_of(name, "second"))
    path.write_text(good)
    for name in two_streams:
        stack.sluice("verify", "--wait", WAIT, "--stream", name)
