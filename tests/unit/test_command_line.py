"""What a person gets wrong on the command line ends in one line that says what, and never in a traceback."""

import json
import os
import re
import socket
from pathlib import Path

import pytest
from aiokafka.errors import KafkaConnectionError

from catalog.errors import SluiceError
from catalog.settings import lake_settings
from infra import cli
from infra.commands.servers import needed


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The one line on standard error of a command that ends in exit code 1."""
    monkeypatch.setattr("sys.argv", ["sluice", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    line = capsys.readouterr().err
    assert ended.value.code == 1
    assert line.startswith("error: ")
    assert len(line.splitlines()) == 1
    return line


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this stack would be."""
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.parametrize("only", ["", " , "])
def test_a_stack_of_no_parts_is_not_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path, only: str
) -> None:
    assert "No part is named: name some of postgres" in refused(capsys, monkeypatch, "up", "--only", only)
    assert not (state / "run").exists()


def test_a_state_folder_that_is_a_file_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    state.touch()
    for command in ("status", "up", "down"):
        assert str(state) in refused(capsys, monkeypatch, command)


def test_a_state_folder_that_cannot_be_made_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_STATE", "/proc/nowhere")
    assert "/proc/nowhere" in refused(capsys, monkeypatch, "up", "--only", "minio")


def test_a_log_that_is_none_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    (state / "log" / "minio.log").mkdir(parents=True)
    assert "minio.log: Is a directory" in refused(capsys, monkeypatch, "logs", "minio")


def test_a_state_that_cannot_be_read_can_be_purged_as_its_message_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    state.mkdir()
    (state / "stack.json").write_text('{"ports":')
    assert "`sluice down --purge`" in refused(capsys, monkeypatch, "status")
    monkeypatch.setattr("sys.argv", ["sluice", "down", "--purge", "--yes", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out) == {"ended": [], "purged": True}
    assert not state.exists()


def test_a_file_of_passwords_that_is_no_text_is_left_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "passwords"
    file.write_bytes(b"A=\xff\n")
    assert "is not UTF-8 text" in refused(capsys, monkeypatch, "secrets", "--file", str(file))
    assert file.read_bytes() == b"A=\xff\n"
    assert os.listdir(tmp_path) == ["passwords"]


def test_a_database_that_is_away_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening: every connection is refused
        monkeypatch.setenv("SLUICE_CATALOG_URI", f"postgresql://sluice@127.0.0.1:{taken.getsockname()[1]}/lake")
        lake_settings.cache_clear()
        try:
            for command in (("maintain", "--table", "silver.orders"), ("apply",)):
                assert re.search(r"The catalog database .* does not answer", refused(capsys, monkeypatch, *command))
        finally:
            lake_settings.cache_clear()


def test_a_broker_that_is_away_is_told() -> None:
    with (
        pytest.raises(SluiceError, match="does not answer: KafkaConnectionError: refused"),
        needed(),
    ):
        raise KafkaConnectionError("refused")


def test_a_spool_that_is_a_file_is_not_an_empty_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "spool").touch()
    folder = ("--folder", str(tmp_path / "spool"))
    assert "is not a folder" in refused(capsys, monkeypatch, "spool", "list", *folder)


def test_nothing_is_measured_where_no_stack_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    assert "No stack runs here: start it with `sluice up`" in refused(capsys, monkeypatch, "bench", "gateway")
