"""Metrics of several workers: what one told of its state ends with it, what it counted stays."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import multiprocess

from ingest_gateway import metrics
from tests.spool import ToldKafka, spool_at

WORKER = """
import sys
from ingest_gateway import metrics
up, waiting, accepted = map(int, sys.argv[1:])
metrics.BROKER_UP.set(up)
metrics.SPOOL_OLDEST.set(waiting)
metrics.IN_FLIGHT_REQUESTS.set(waiting)
metrics.EVENTS.labels("orders", "accepted").inc(accepted)
print("told", flush=True)
sys.stdin.read()
"""


def worker(up: int, waiting: int, accepted: int) -> subprocess.Popen[str]:
    """One that has told its state, and lives until it is killed."""
    told = [sys.executable, "-c", WORKER, *map(str, (up, waiting, accepted))]
    process = subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "told\n"
    return process


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """Two of them: one sees Kafka, the other does not."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    started: list[subprocess.Popen[str]] = []
    try:
        started += [worker(1, 2, 10)]
        started += [worker(0, 500, 7)]
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def told(name: str) -> float:
    (line,) = [
        line for line in metrics.exposition().decode().splitlines() if line.startswith((f"{name} ", f"{name}{{"))
    ]
    return float(line.rpartition(" ")[2])


def test_a_worker_that_died_tells_nothing_of_its_state_any_more(workers: list[subprocess.Popen[str]]) -> None:
    state = ("broker_up", "spool_oldest_age_seconds", "in_flight_requests")
    assert [told(f"sluice_gateway_{name}") for name in state] == [0, 500, 502]
    workers[1].kill()
    workers[1].wait()
    assert [told(f"sluice_gateway_{name}") for name in state] == [1, 2, 2]
    assert told("sluice_gateway_events_total") == 17, "what it took it did take"


def test_a_worker_of_somebody_else_counts_as_alive(
    workers: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", forbidden)
        assert told("sluice_gateway_broker_up") == 0


def test_who_else_tidies_up_at_the_same_time_is_in_nobodys_way(
    workers: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker and the first process answer scrapes."""
    workers[1].kill()
    workers[1].wait()
    real = multiprocess.mark_process_dead

    def too_late(pid: int, path: str) -> None:
        real(pid, path)
        raise FileNotFoundError

    monkeypatch.setattr(multiprocess, "mark_process_dead", too_late)
    assert told("sluice_gateway_broker_up") == 1


def test_the_bound_of_the_spool_is_told(tmp_path: Path) -> None:
    """That of each worker's share, which add up as the bytes do."""

    async def run() -> None:
        async with spool_at(tmp_path, ToldKafka(), limit=3 << 20):
            assert told("sluice_gateway_spool_limit_bytes") == 3 << 20

    asyncio.run(run())
