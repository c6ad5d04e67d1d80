"""PostgreSQL's data is lost, or Kafka's: what the bucket and a backup give back, and what is not taken for it."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalog import query
from catalog.kafka_offsets import topic_bounds
from catalog.lake import file_system
from catalog.recovery.metadata_files import folder_of, read, without_scheme
from catalog.settings import BUNDLED_CONTRACTS, LakeSettings, read_settings
from tests.drivers import Own, reason
from tests.integration.test_accept_loss import forget
from tests.stack import WAIT, Stack, eventually, running_stack
from tests.streams import add_stream, holds_exactly, send, some_events

# Each starts the whole stack anew, some of them twice.
pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]
SERVERS = ("postgres", "minio", "kafka")
PARTS = (*SERVERS, "trino", "gateway", "stream")


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orders-alone")
    shutil.copy(BUNDLED_CONTRACTS / "orders.odcs.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def stack(contracts: Path) -> Iterator[Stack]:
    with running_stack(*PARTS, settings={"SLUICE_CONTRACTS": str(contracts)}) as running:
        yield running


@pytest.fixture(scope="module")
def lake(stack: Stack) -> Iterator[LakeSettings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.env().items():
            patch.setenv(name, value)
        yield read_settings(LakeSettings)


def lose(stack: Stack, server: str) -> None:
    """All that a server has on its disk."""
    stack.sluice("down")
    shutil.rmtree(stack.state / "data" / server)


def restored(stack: Stack, *arguments: str) -> dict[str, dict[str, Any]]:
    return {step["table"]: step for step in json.loads(stack.sluice("restore", *arguments, "--json"))}


def pointers(stack: Stack, file: Path) -> dict[str, str]:
    """Where the catalog points to, while nobody writes."""
    stack.sluice("backup", str(file))
    kept = json.loads(file.read_text())["pointers"]
    return {f"{one['namespace']}.{one['name']}": one["metadata_location"] for one in kept}


def losing_sibling(lake: LakeSettings, metadata_location: str) -> str:
    """What a commit leaves that came second: on the predecessor's state, with the same number, and later by the clock."""
    files = file_system(lake)
    won = read(files, metadata_location)
    assert won.previous is not None
    document = {**read(files, won.previous).document, "last-updated-ms": int(time.time() * 1000) + 60_000}
    path = (
        f"{folder_of(metadata_location)}/metadata/{won.version:05d}-ffffffff-0000-4000-8000-00000000000f.metadata.json"
    )
    with files.open_output_stream(without_scheme(path)) as stream:
        stream.write(orjson.dumps(document))
    return path


def test_the_bucket_alone_gives_every_table_back_as_its_newest_commit_left_it(
    stack: Stack, contracts: Path, lake: LakeSettings, tmp_path: Path
) -> None:
    add_stream(stack, contracts, "bucket")
    events = some_events("first", 0, 200)
    for start in range(0, 200, 40):  # several commits
        send(stack, "bucket", events[start : start + 40])
    stack.sluice("verify", "--wait", WAIT, "--stream", "bucket")
    refused = stack.run("restore", "--from-bucket")
    assert refused.returncode == 1
    assert "A stream job is at work" in refused.stderr
    stack.sluice("down")
    stack.up(*SERVERS)
    was = pointers(stack, tmp_path / "before.json")
    lost = losing_sibling(lake, was["bronze.bucket"])

    lose(stack, "postgres")
    started = stack.run("up", "--only", ",".join(PARTS))
    assert started.returncode == 1, "an empty catalog must not get empty tables in the place of those that are there"
    assert "sluice restore --from-bucket" in started.stdout + started.stderr
    assert "sluice up --only postgres,minio,kafka" in stack.run("restore", "--from-bucket").stderr
    stack.up(*SERVERS)
    assert {step["outcome"] for step in restored(stack, "--from-bucket", "--dry-run").values()} == {"registered"}
    steps = restored(stack, "--from-bucket")
    assert {name: step["metadata_location"] for name, step in steps.items()} == {
        name: path for name, path in was.items() if not name.startswith("gold.")
    }
    assert steps["bronze.bucket"]["rows"] == 200
    assert steps["bronze.bucket"]["refused"] == {lost: "another commit was first"}
    assert {step["outcome"] for step in restored(stack, "--from-bucket").values()} == {"left"}, "it may be repeated"

    stack.up(*PARTS)
    send(stack, "bucket", some_events("second", 0, 30))
    for options in ([], ["--deep"]):
        stack.sluice("verify", "--wait", WAIT, "--stream", "bucket", *options)
    holds_exactly(lake, "bucket", "first", events)
    assert query.rows(lake, "select count(*) as n from bronze.bucket") == [{"n": 230}]


def test_an_older_backup_goes_back_where_kafka_has_the_rest_and_forward_where_not(
    stack: Stack, contracts: Path, lake: LakeSettings, tmp_path: Path
) -> None:
    add_stream(stack, contracts, "older")
    early, late = some_events("early", 0, 50), some_events("late", 0, 50)
    send(stack, "older", early)
    stack.sluice("verify", "--wait", WAIT, "--stream", "older")
    backup = tmp_path / "catalog.json"
    assert json.loads(stack.sluice("backup", str(backup), "--json"))["tables"] >= 6
    send(stack, "older", late)
    stack.sluice("verify", "--wait", WAIT, "--stream", "older")

    lose(stack, "postgres")
    stack.up(*SERVERS)
    assert "--yes" in stack.run("restore", str(backup), "--exactly").stderr
    assert restored(stack, str(backup), "--exactly", "--yes")["bronze.older"]["rows"] == 50
    stack.up(*PARTS)
    stack.sluice("verify", "--deep", "--wait", WAIT, "--stream", "older")
    holds_exactly(lake, "older", "early", early)
    holds_exactly(lake, "older", "late", late)

    now = pointers(stack, tmp_path / "now.json")["bronze.older"]
    end = asyncio.run(topic_bounds(lake, ["older"]))["older"][0][1]
    asyncio.run(forget(lake, "older", end))
    lose(stack, "postgres")
    stack.up(*SERVERS)
    refused = stack.run("restore", str(backup), "--exactly", "--yes")
    assert refused.returncode == 1
    assert f"Kafka has offsets {end} to" in refused.stderr
    step = restored(stack, str(backup))["bronze.older"]
    assert (step["metadata_location"], step["rows"]) == (now, 100), "what was given up before is not the newest state"
    stack.up(*PARTS)


def test_another_kafka_cluster_is_not_read_as_if_it_were_the_one_that_was_lost(
    stack: Stack, contracts: Path, lake: LakeSettings
) -> None:
    add_stream(stack, contracts, "cluster")
    send(stack, "cluster", some_events("first", 0, 40))
    stack.sluice("verify", "--wait", WAIT, "--stream", "cluster")
    had = query.rows(lake, 'select max("offset") as n from bronze.cluster')[0]["n"]

    lose(stack, "kafka")
    stack.up(*SERVERS, "trino", "gateway")  # the topics are made anew
    send(stack, "cluster", some_events("second", 0, 200))
    bounds = asyncio.run(topic_bounds(lake, ["cluster"]))["cluster"]
    assert min(end for _, end in bounds.values()) > had, "by their numbers alone these offsets go on where bronze ends"
    stack.up(*PARTS)
    eventually(lambda: "cluster: bronze was filled from Kafka cluster" in reason(Own(stack)), 90, "it is set aside")
    assert query.rows(lake, "select count(*) as n from bronze.cluster") == [{"n": 40}]
    given_up = stack.run("stream", "--accept-loss", "cluster:0:0-1", "--reason", "test", "--yes")
    assert given_up.returncode == 1
    assert "bronze was filled from Kafka cluster" in given_up.stderr
