"""The launcher before there is an environment: what it needs, what it says, what it shares."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.native import environment
from tests.stack import CHECKOUT


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.lock"
    file.write_text("")
    return file


def launch(
    cache: Path, *arguments: str, launcher: Path = CHECKOUT / "sluice", **variables: str
) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cache), "SLUICE_CACHE": str(cache), **variables}
    return subprocess.run([launcher, *arguments], env=environ, text=True, capture_output=True, check=False)


def finished(cache: Path, key: str, version: str = "3.11") -> Path:
    """An environment whose Python only says how it was called."""
    folder = cache / "env" / f"py{version}-{key}"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    (folder / ".complete").touch()
    return folder


def key_of_this_checkout() -> str:
    return hashlib.sha256((CHECKOUT / "requirements.lock").read_bytes()).hexdigest()[:16]


def test_a_finished_environment_is_used_at_once(tmp_path: Path) -> None:
    finished(tmp_path, key_of_this_checkout())
    assert launch(tmp_path, "status", "--json").stdout == f"{CHECKOUT} -P -m infra.cli status --json\n"


def test_a_link_to_the_launcher_works_from_anywhere(tmp_path: Path) -> None:
    finished(tmp_path, key_of_this_checkout())
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "sluice"
    link.symlink_to(os.path.relpath(CHECKOUT / "sluice", link.parent))
    assert launch(tmp_path, "status", launcher=link).stdout.startswith(f"{CHECKOUT} ")


def test_an_unfinished_environment_is_not_used(tmp_path: Path) -> None:
    (finished(tmp_path, key_of_this_checkout()) / ".complete").unlink()
    done = launch(tmp_path, "status", SLUICE_PYTHON="/bin/false")
    assert done.returncode == 1
    assert "needs Python 3.11" in done.stderr


def test_a_missing_python_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    done = launch(tmp_path, "up", SLUICE_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "/nowhere/python is not one" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_needs_no_environment(tmp_path: Path) -> None:
    done = launch(tmp_path, "--help", SLUICE_PYTHON=sys.executable)
    assert done.returncode == 0
    assert "./sluice up --demo" in done.stderr
    assert not list(tmp_path.glob("env/py*"))


def test_a_python_without_venv_is_told_with_the_package(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(environment.NotMadeError, match="apt-get install python3"):
        environment.make(tmp_path / "env", lock)
    assert not (tmp_path / "env").exists()


def test_two_first_starts_make_one_environment(tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(target: Path, _: Path) -> None:
        made.append(target)
        (target / "bin").mkdir(parents=True)
        (target / "bin" / "python").touch()

    monkeypatch.setattr(environment, "make", make)
    threads = [threading.Thread(target=environment.environment, args=(tmp_path / "env", lock, "k")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_second_start_says_that_it_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = (tmp_path / "lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    threading.Timer(0.3, file.close).start()
    with environment.only_one(tmp_path / "lock"):
        assert "waiting" in capsys.readouterr().err
