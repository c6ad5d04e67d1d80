"""`sluice backfill` into a running stack: files of a folder and of the object store, cut short, refused, and come again."""

import csv
import gzip
import json
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import query
from catalog.lake import file_system, open_catalog
from catalog.ops_tables import BACKFILLS, append
from catalog.settings import LakeSettings
from ingest_gateway.history import find
from tests.stack import WAIT, Stack, eventually, free_port
from tests.streams import add_stream

pytestmark = pytest.mark.stack
Row = dict[str, Any]


@pytest.fixture
def name(stack: Stack, contracts: Path) -> Iterator[str]:
    """A stream of this test's own, known to the gateway."""
    made = f"history_{uuid.uuid4().hex[:8]}"
    add_stream(stack, contracts, made)
    yield made
    (contracts / f"{made}.odcs.yaml").unlink()


def some_rows(start: int, count: int) -> list[Row]:
    """Of 2024, all different; each 10th breaks a rule."""
    return [
        {"item": f"item-{n}", "quantity": 5_000 if n % 10 == 0 else n % 100, "at": f"2024-01-{n % 9 + 1:02}T00:00:00Z"}
        for n in range(start, start + count)
    ]


def lines(rows: Sequence[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def loaded(stack: Stack, *arguments: str, code: int) -> dict[str, Any]:
    done = stack.run("backfill", *arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def items(stack: Stack, lake: LakeSettings, stream: str) -> tuple[list[str], list[str]]:
    """Of silver and of quarantine, once all has arrived and is proven exact."""
    stack.sluice("verify", "--wait", WAIT, "--stream", stream)
    kept, bad = (query.rows(lake, f"select item from {layer}.{stream}") for layer in ("silver", "quarantine"))
    return sorted(row["item"] for row in kept), sorted(row["item"] for row in bad)


def expected(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return (
        sorted(row["item"] for row in rows if row["quantity"] < 1000),
        sorted(row["item"] for row in rows if row["quantity"] >= 1000),
    )


def test_a_folder_is_loaded_once_and_later_only_what_is_new(
    stack: Stack, lake: LakeSettings, name: str, tmp_path: Path
) -> None:
    rows = some_rows(0, 90)
    with (tmp_path / "1.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["item", "quantity", "at"])
        writer.writeheader()
        writer.writerows(rows[:30])
    (tmp_path / "2.ndjson.gz").write_bytes(gzip.compress(lines(rows[30:60]) + b'{"item": "no quantity"}\n'))
    (tmp_path / "2024").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[60:]), tmp_path / "2024" / "3.parquet")
    (tmp_path / "_SUCCESS").touch()

    planned = loaded(stack, str(tmp_path), "--stream", name, "--dry-run", code=0)
    assert [file["outcome"] for file in planned["files"]] == ["to send"] * 3
    first = loaded(stack, str(tmp_path), "--stream", name, "--rate", "0", code=3)
    assert [(Path(file["file"]).name, file["outcome"], file["taken"], file["refused"]) for file in first["files"]] == [
        ("1.csv", "done", 30, 0), ("2.ndjson.gz", "done", 30, 1), ("3.parquet", "done", 30, 0),
    ]  # fmt: skip
    assert [Path(other).name for other in first["passed_over"]] == ["_SUCCESS"]
    (refused,) = map(json.loads, (tmp_path / "2.ndjson.gz.rejected.ndjson").read_text().splitlines())
    assert refused["record"] == {"item": "no quantity"}
    assert items(stack, lake, name) == expected(rows)

    more = some_rows(90, 10)
    (tmp_path / "4.ndjson").write_bytes(lines(more))
    later = loaded(stack, str(tmp_path), "--stream", name, code=0)
    assert [(file["outcome"], file["read"]) for file in later["files"]] == [*[("done earlier", 0)] * 3, ("done", 10)]
    # All of it once more: other records, the same events.
    again = loaded(stack, str(tmp_path), "--stream", name, "--again", code=3)
    assert again["taken"] == 100
    assert items(stack, lake, name) == expected(rows + more)
    told = query.rows(lake, f"select outcome, sum(taken) as taken from {BACKFILLS} where stream = '{name}' group by 1")
    assert {row["outcome"]: row["taken"] for row in told} == {"begun": None, "done": 200}


def test_objects_of_the_lakes_store_are_loaded_and_refused_ones_kept_there(
    stack: Stack, lake: LakeSettings, name: str
) -> None:
    store, root = file_system(lake), f"{lake.bucket}/history/{name}"
    rows = some_rows(0, 40)
    with store.open_output_stream(f"{root}/a.ndjson.gz", compression=None) as file:
        file.write(gzip.compress(lines(rows[:20]) + b"no json\n"))
    pq.write_table(pa.Table.from_pylist(rows[20:]), f"{root}/b/c.parquet", filesystem=store)
    told = loaded(stack, f"s3://{root}/", "--stream", name, "--id-from", "item", code=3)
    assert [(file["file"], file["taken"], file["rejected"]) for file in told["files"]] == [
        (f"s3://{root}/a.ndjson.gz", 20, f"s3://{root}/a.ndjson.gz.rejected.ndjson"), (f"s3://{root}/b/c.parquet", 20, None),
    ]  # fmt: skip
    with store.open_input_stream(f"{root}/a.ndjson.gz.rejected.ndjson", compression=None) as file:
        assert json.loads(file.read())["text"] == "no json"
    assert items(stack, lake, name) == expected(rows)
    assert loaded(stack, f"s3://{root}", "--stream", name, code=0)["taken"] == 0
    ids = query.rows(lake, f"select count(*) as n from silver.{name} where _event_id = item")
    assert ids[0]["n"] == len(expected(rows)[0])


def test_a_kill_in_the_middle_and_a_second_start_give_each_row_once(
    stack: Stack, lake: LakeSettings, name: str, tmp_path: Path
) -> None:
    rows = some_rows(0, 3_000)
    for number in range(3):
        (tmp_path / f"{number}.ndjson").write_bytes(lines(rows[number * 1000 : (number + 1) * 1000]))
    arrived = f"select count(*) as n from bronze.{name}"
    process = stack.popen("backfill", str(tmp_path), "--stream", name, "--rate", "200", start_new_session=True)
    try:
        eventually(lambda: query.rows(lake, arrived)[0]["n"] > 1100, 120, "the second file's first rows")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    began = query.rows(lake, f"select outcome from {BACKFILLS} where stream = '{name}' order by at")
    assert [row["outcome"] for row in began] == ["begun", "done", "begun"]
    assert query.rows(lake, arrived)[0]["n"] < 3000
    told = loaded(stack, str(tmp_path), "--stream", name, "--rate", "0", code=0)
    assert [file["outcome"] for file in told["files"]] == ["done earlier", "done", "done"]
    assert items(stack, lake, name) == expected(rows)


def test_a_file_that_cannot_be_read_does_not_stop_the_others(stack: Stack, name: str, tmp_path: Path) -> None:
    (tmp_path / "1.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "2.ndjson").write_bytes(lines(some_rows(0, 5)))
    done = stack.run("backfill", str(tmp_path), "--stream", name, "--json")
    assert done.returncode == 1
    assert [file["outcome"] for file in json.loads(done.stdout)["files"]] == ["stopped", "done"]
    assert "1.parquet is no Parquet file" in done.stderr
    assert "1 of 2 files are not done" in done.stderr


def test_a_gateway_that_stays_away_stops_at_the_first_file(stack: Stack, name: str, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.ndjson").write_bytes(lines(some_rows(number, 5)))
    nobody = f"http://127.0.0.1:{free_port()}"
    done = stack.run("backfill", str(tmp_path), "--stream", name, "--url", nobody, "--patience", "1", "--json")
    assert done.returncode == 1
    assert [file["outcome"] for file in json.loads(done.stdout)["files"]] == ["stopped"]
    assert "2 of 2 files are not done; start the same command again" in done.stderr


def test_what_the_stream_no_longer_remembers_is_not_sent_again_by_mistake(
    stack: Stack, lake: LakeSettings, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "1.ndjson"
    path.write_bytes(lines(some_rows(0, 5)))
    (file,), _ = find([str(path)], lake)
    long_ago = datetime.now(UTC) - timedelta(days=8)
    facts = {"at": long_ago, "stream": name, "file": file.address, "version": file.version, "outcome": "begun"}
    append(open_catalog(lake), BACKFILLS, [facts])
    done = stack.run("backfill", str(path), "--stream", name)
    assert done.returncode == 1
    assert f"was begun on {long_ago:%Y-%m-%d}, and {name} remembers ids for 7 days" in done.stderr
    assert loaded(stack, str(path), "--stream", name, "--beyond-horizon", code=0)["taken"] == 5


def test_history_must_not_replace_newer_states(stack: Stack, contracts: Path, tmp_path: Path) -> None:
    name = f"states_{uuid.uuid4().hex[:8]}"
    add_stream(stack, contracts, name, entity=True)
    path = contracts / f"{name}.odcs.yaml"
    told = path.read_text().replace(", {property: eventTime, value: at}", "")
    path.write_text(
        told.replace(
            "name: at, logicalType: timestamp, required: true, partitioned: true", "name: at, logicalType: string"
        )
    )
    try:
        done = stack.run("backfill", str(tmp_path), "--stream", name)
    finally:
        path.unlink()
    assert done.returncode == 1
    assert "history would replace newer states" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing", "--stream", "orders"), "missing: there is no such file or folder"),
        ((".", "--stream", "orders", "--format", "xlsx"), "--format xlsx: expected one of csv"),
        (("s3://lake/nothing", "--stream", "orders"), "s3://lake/nothing: there is no such file or folder"),
        ((".", "--stream", "nowhere"), "There is no contract of nowhere"),
        ((".", "--stream", "orders", "--id-from", "number"), "orders has no such column; it has order_id"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(stack: Stack, arguments: tuple[str, ...], message: str) -> None:
    done: subprocess.CompletedProcess[str] = stack.run("backfill", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
