"""What the launcher refuses or cannot start is told in words, and nothing is left behind."""

import os
import shutil
import socket

import pytest

from tests.launcher import belonging_to
from tests.stack import PORTS_OF_A_STACK, Stack, eventually

pytestmark = pytest.mark.stack


def test_a_taken_port_is_named_with_its_owner_and_the_setting(fresh: Stack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", fresh.port_base + 3))
        other.listen()
        done = fresh.run("up", "--only", "minio", "--port-base", str(fresh.port_base))
    assert done.returncode == 1
    assert f"Port {fresh.port_base + 3} for minio is taken by pid {os.getpid()} (" in done.stderr
    assert "SLUICE_PORT_MINIO" in done.stderr
    assert belonging_to(fresh) == []


def test_one_port_can_be_chosen_and_is_kept(fresh: Stack) -> None:
    chosen = fresh.port_base + PORTS_OF_A_STACK - 1
    fresh.sluice("up", "--only", "minio", "--port-base", str(fresh.port_base), "--port", f"minio={chosen}")
    fresh.sluice("down")
    fresh.sluice("up", "--only", "minio")
    assert fresh.status()["minio"]["port"] == chosen
    refused = fresh.run("up", "--only", "minio", "--port", f"minio={chosen - 1}")
    assert refused.returncode == 1
    assert "`sluice down` first" in refused.stderr


def test_a_part_that_cannot_start_shows_its_log_and_leaves_nothing(fresh: Stack) -> None:
    fresh.up("minio")
    fresh.sluice("down")
    shutil.rmtree(fresh.state / "data" / "minio")
    (fresh.state / "data" / "minio").mkdir()
    (fresh.state / "data" / "minio" / ".minio.sys").write_text("not a folder")
    done = fresh.run("up", "--only", "minio")
    assert done.returncode == 1
    assert "minio did not start" in done.stderr
    assert "sluice logs minio" in done.stderr
    assert "Traceback" not in done.stderr
    eventually(lambda: belonging_to(fresh) == [], 30, "nothing left")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("SLUICE_PORT_MINIO", "ninety"), ("SLUICE_MEMORY_MINIO", "much"), ("SLUICE_PORT_MINIO", "70000")],
)
def test_a_setting_that_cannot_work_is_named(fresh: Stack, setting: str, value: str) -> None:
    stack = Stack(fresh.state, fresh.port_base, {setting: value})
    done = stack.run("up", "--only", "minio")
    assert done.returncode == 1
    assert setting in done.stderr
    assert value in done.stderr
