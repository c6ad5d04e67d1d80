"""However a stack ends, what belongs to it ends, and nothing else does."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.launcher import QUICK, belonging_to, supervisor_pid
from tests.stack import Stack, eventually, free_port_base, patient

pytestmark = pytest.mark.stack


def test_down_ends_everything_of_its_own_and_nothing_else(folder: Path) -> None:
    one, other = (Stack(folder / name, free_port_base()) for name in ("one", "other"))
    one.up(*QUICK)
    other.port_base = free_port_base()
    other.up(*QUICK)
    kept = {name: other.pid(name) for name in QUICK}
    assert one.env()["SLUICE_S3_SECRET_KEY"] != other.env()["SLUICE_S3_SECRET_KEY"]
    one.sluice("down")
    assert belonging_to(one) == []
    assert {name: other.pid(name) for name in QUICK} == kept
    assert all(part["state"] == "ready" for name, part in other.status().items() if name in QUICK)
    other.down()
    assert belonging_to(other) == []
    one.down()


def test_a_ctrl_c_during_up_leaves_nothing(fresh: Stack) -> None:
    with fresh.popen(
        "up", "--only", "postgres,minio,kafka", "--port-base", str(fresh.port_base), start_new_session=True
    ) as up:
        eventually(lambda: len(belonging_to(fresh)) >= 3, 60, "some parts started")
        os.killpg(up.pid, signal.SIGINT)
        assert up.wait(patient(60)) == 130
    assert belonging_to(fresh) == []


def test_down_ends_the_parts_of_a_supervisor_that_was_killed(fresh: Stack) -> None:
    fresh.up(*QUICK)
    os.kill(supervisor_pid(fresh), signal.SIGKILL)
    shown = eventually(lambda: (text := fresh.sluice("status")) and "supervisor is gone" in text and text, 10)
    assert "unsupervised" in shown
    fresh.sluice("down")
    assert belonging_to(fresh) == []


def test_up_takes_over_the_parts_of_a_supervisor_that_was_killed(fresh: Stack) -> None:
    fresh.up(*QUICK)
    before = {name: fresh.pid(name) for name in QUICK}
    os.kill(supervisor_pid(fresh), signal.SIGKILL)
    fresh.up(*QUICK)
    assert {name: fresh.pid(name) for name in QUICK} == before
    fresh.kill("minio")
    assert fresh.await_ready("minio", other_than=before["minio"])["restarts"] == 1


def test_a_deleted_checkout_takes_its_processes_with_it(fresh: Stack) -> None:
    fresh.up("minio")
    left = belonging_to(fresh)
    assert len(left) == 2

    def deleted() -> bool:
        shutil.rmtree(fresh.state, ignore_errors=True)  # a process may write into it meanwhile
        return not fresh.state.exists()

    eventually(deleted, 20, "the folder is gone")
    eventually(lambda: not any(process.is_running() for process in left), 60, "all ended")


def test_purge_asks_first(fresh: Stack) -> None:
    fresh.up("minio")
    done = fresh.run("down", "--purge")
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert fresh.status()["minio"]["state"] == "ready"
    fresh.sluice("down", "--purge", "--yes")
    assert not fresh.state.exists()


def test_a_repeated_down_is_harmless(fresh: Stack) -> None:
    assert "no stack" in fresh.sluice("down")
