"""A part that works until it is told to stop, as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog import service

PROGRAM = """
import _thread
import threading

import structlog
from catalog import service

def willing(stop):
    log.info("working")
    stop.wait()

def deaf(stop):
    log.info("working")
    while True:
        stop.wait(1)

def starved(stop):
    # What CPython does where a new thread finds no memory to begin in.
    class Unborn(threading.Thread):
        def _bootstrap(self):
            raise MemoryError
    log.info("working")
    _thread.start_new_thread(Unborn()._bootstrap, ())
    stop.wait()

def hungry(stop):
    try:
        bytearray(1 << 60)
    except MemoryError as failure:
        service.end_without_memory(log, failure)

service.log_as_json()
log = structlog.get_logger()
service.run_until_told({work}, log, {grace})
"""


@contextmanager
def running(work: str, grace: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM.format(work=work, grace=grace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("work", "grace", "last"), [("willing", 500, "stopped"), ("deaf", 0.1, "stopping")])
def test_it_ends_when_it_is_told_to(work: str, grace: float, last: str) -> None:
    with running(work, grace) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "working"
        process.send_signal(signal.SIGTERM)
        told = [json.loads(line) for line in process.stdout]
        assert process.wait() == 0
    assert [one["event"] for one in told] == ["stopping", "stopped"][: 2 if last == "stopped" else 1]
    assert told[0]["signal"] == "SIGTERM"


def test_a_thread_that_finds_no_memory_to_begin_ends_the_process() -> None:
    """Whoever waits for such a thread waits for ever, and the part would seem to be well."""
    with running("starved", 500) as process:
        assert process.wait(60) == service.OUT_OF_MEMORY


def test_a_part_without_memory_says_so_and_ends() -> None:
    with running("hungry", 500) as process:
        told, _ = process.communicate(timeout=60)
        assert process.returncode == service.OUT_OF_MEMORY
    assert json.loads(told)["event"] == "out of memory"


@pytest.mark.parametrize(
    ("module", "setting"),
    [
        ("catalog.gold_refresh", "SLUICE_GOLD_PORT"),
        ("catalog.maintenance", "SLUICE_MAINTENANCE_PORT"),
        ("stream_jobs", "SLUICE_STREAM_PORT"),
        ("stream_jobs.verify", "SLUICE_VERIFY_PORT"),
    ],
)
def test_a_port_that_is_taken_ends_a_part_in_one_line(module: str, setting: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        surroundings = {**os.environ, setting: port, "SLUICE_STATE": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", module], env=surroundings, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert f"127.0.0.1:{port}: Address already in use. Choose another port by {setting}." in told
    assert "Traceback" not in told
