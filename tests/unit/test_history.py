"""Which files a backfill takes, in which order, where refused records go, and how quickly records come. No server is needed."""

import gzip
import json
import time
from pathlib import Path

import pytest

from catalog.errors import SluiceError
from catalog.settings import LakeSettings, read_settings
from infra.sending import paced
from ingest_gateway.history import Rejects, find
from ingest_gateway.readers import Record
from ingest_gateway.sources import open_place

LAKE = read_settings(LakeSettings)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder as another system exported it."""
    root = tmp_path / "export"
    for name in (
        "b/2.ndjson",
        "b/1.csv.gz",
        "a.parquet",
        "_delta_log/0.json",
        ".hidden.csv",
        "notes.md",
        "b/2.ndjson.rejected.ndjson",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "empty.csv").touch()
    return root


def test_a_folder_gives_its_data_files_in_order(export: Path) -> None:
    found, others = find([str(export)], LAKE)
    assert [file.below for file in found] == ["a.parquet", "b/1.csv.gz", "b/2.ndjson"]
    assert [Path(other).name for other in others] == [
        ".hidden.csv", "0.json", "2.ndjson.rejected.ndjson", "empty.csv", "notes.md",
    ]  # fmt: skip


def test_a_file_that_is_named_is_taken_whatever_its_name_and_once(export: Path) -> None:
    found, others = find([str(export / "notes.md"), str(export / "b"), str(export / "b" / "2.ndjson")], LAKE)
    assert [Path(file.address).name for file in found] == ["1.csv.gz", "2.ndjson", "notes.md"]
    assert len(others) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [("nowhere", "nowhere: there is no such file or folder"), ("s3://", "expected s3://BUCKET/PREFIX")],
)
def test_a_source_that_is_not_there_is_named(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SluiceError, match=message):
        find([source], LAKE)


def test_a_file_that_changed_is_another_one(export: Path) -> None:
    (before,), _ = find([str(export / "notes.md")], LAKE)
    assert find([str(export / "notes.md")], LAKE)[0][0].key == before.key
    (export / "notes.md").write_text("more")
    assert find([str(export / "notes.md")], LAKE)[0][0].key != before.key


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(b'{"n":1}\n{"n":2}\n'))
    (file,), _ = find([str(tmp_path)], LAKE)
    assert [json.loads(record.payload) for record in open_place(file.place, None).records] == [{"n": 1}, {"n": 2}]


def test_a_file_that_is_gone_is_told(export: Path) -> None:
    (file,), _ = find([str(export / "notes.md")], LAKE)
    (export / "notes.md").unlink()
    with pytest.raises(SluiceError, match=r"notes\.md cannot be read: .*No such file"):
        open_place(file.place, None)


class TestRejects:
    def test_lie_beside_the_file_and_go_when_all_is_taken(self, export: Path) -> None:
        (file,), _ = find([str(export / "b" / "2.ndjson")], LAKE)
        (export / "b" / "2.ndjson.rejected.ndjson").unlink()
        assert Rejects(file, None, LAKE).close(finished=True) is None
        refused = Rejects(file, None, LAKE)
        refused.write(b"one\n")
        assert refused.close(finished=True) == f"{export}/b/2.ndjson.rejected.ndjson"
        assert (export / "b" / "2.ndjson.rejected.ndjson").read_bytes() == b"one\n"
        assert Rejects(file, None, LAKE).close(finished=False) is None
        assert (export / "b" / "2.ndjson.rejected.ndjson").exists(), "not before all is taken"
        assert Rejects(file, None, LAKE).close(finished=True) is None
        assert not (export / "b" / "2.ndjson.rejected.ndjson").exists()

    def test_files_of_one_name_stay_apart_in_a_folder_of_their_own(self, export: Path, tmp_path: Path) -> None:
        (export / "c").mkdir()
        (export / "c" / "2.ndjson").write_text("x")
        for file in find([str(export)], LAKE)[0]:
            refused = Rejects(file, str(tmp_path / "out"), LAKE)
            refused.write(file.below.encode())
            refused.close(finished=True)
        written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.ndjson")}
        assert {"b/2.ndjson.rejected.ndjson", "c/2.ndjson.rejected.ndjson"} < written

    def test_a_folder_that_cannot_be_written_is_named(self, export: Path) -> None:
        (file,), _ = find([str(export / "notes.md")], LAKE)
        with pytest.raises(SluiceError, match=r"cannot be written: .*--rejected"):
            Rejects(file, str(export / "a.parquet"), LAKE).write(b"one\n")


class TestPaced:
    RECORDS = tuple(Record(b"{}", f"line {number}") for number in range(1000))

    def test_gives_all_records_unchanged(self) -> None:
        assert tuple(paced(iter(self.RECORDS), 0)) == self.RECORDS
        assert tuple(paced(iter(self.RECORDS), 100_000)) == self.RECORDS

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
        """A time that goes on only while somebody sleeps, or the test says so."""
        made = {"now": 100.0, "slept": 0.0}

        def sleep(seconds: float) -> None:
            made["now"] += seconds
            made["slept"] += seconds

        monkeypatch.setattr(time, "monotonic", lambda: made["now"])
        monkeypatch.setattr(time, "sleep", sleep)
        return made

    def test_sleeps_as_long_as_the_rate_asks(self, clock: dict[str, float]) -> None:
        list(paced(iter(self.RECORDS), 100))
        assert clock["slept"] == pytest.approx(10, abs=0.2)

    def test_time_that_others_lost_is_not_made_up_for(self, clock: dict[str, float]) -> None:
        for number, _ in enumerate(paced(iter(self.RECORDS), 100)):
            clock["now"] += 60 if number == 500 else 0
        assert clock["slept"] == pytest.approx(10, abs=0.2)
