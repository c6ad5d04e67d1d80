"""The servers that are measured: processes of the benchmark's own, and what they cost in memory and processor time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from catalog.errors import SluiceError

START = 60.0  # seconds
PLAIN, TUNED, ECHO, SLUICE = "plain", "tuned", "echo", "sluice"
TUNED_BATCH_BYTES = 256 << 10  # as many as did the plain gateway good


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    pid: int

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        main = psutil.Process(self.pid)
        return [child for child in main.children() if "spawn_main" in " ".join(child.cmdline())] or [main]

    def rss_mb(self) -> float:
        """Resident memory of the largest worker, in 10**6 bytes."""
        return max(worker.memory_info().rss for worker in self.workers()) / 1e6

    def cpu_s(self) -> float:
        """Processor time of all workers so far."""
        return sum(sum(worker.cpu_times()[:2]) for worker in self.workers())


@contextmanager
def rival(name: str, workers: int, log: Path) -> Iterator[Server]:
    """The echo or the plain gateway, which is tuned by larger batches than its author would have thought of."""
    port = _free_port()
    app, own = (PLAIN, {"PLAIN_BATCH_BYTES": str(TUNED_BATCH_BYTES)}) if name == TUNED else (name, {})
    command = [sys.executable, "-m", "infra.bench.gateway.serve", app, str(port), str(workers)]
    with _running(name, command, port, {**os.environ, **own}, log) as server:
        _await(lambda: _listens(port), server, log)
        yield server


@contextmanager
def gateway(workers: int, contracts: Path, spool: Path, log: Path) -> Iterator[Server]:
    """The gateway as the environment sets it up, except for who may come: everybody, as often as they like."""
    port = _free_port()
    own = {
        "HOST": "127.0.0.1", "PORT": str(port), "WORKERS": str(workers), "SPOOL": str(spool), "AUTHENTICATION": "off",
        "RATE_LIMIT_BY_KEY": "", "RATE_LIMIT_BY_ADDRESS": "", "EVENT_RATE_LIMIT_BY_KEY": "", "EVENT_RATE_LIMIT_BY_ADDRESS": "",
        "MAX_CONNECTIONS_BY_ADDRESS": "",
    }  # fmt: skip
    environment = {
        **os.environ, **{f"SLUICE_GATEWAY_{name}": value for name, value in own.items()}, "SLUICE_CONTRACTS": str(contracts),
    }  # fmt: skip
    with _running(SLUICE, [sys.executable, "-m", "ingest_gateway"], port, environment, log) as server:
        _await(lambda: _is_ready(port), server, log)
        yield server


@contextmanager
def _running(
    name: str, command: Sequence[str], port: int, environment: Mapping[str, str], log: Path
) -> Iterator[Server]:
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stderr=output) as process:
        try:
            yield Server(name, port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(condition: Callable[[], bool], server: Server, log: Path) -> None:
    deadline = time.monotonic() + START
    while not condition():
        if time.monotonic() > deadline or not psutil.pid_exists(server.pid) or _is_dead(server.pid):
            last = log.read_text(errors="replace").splitlines()[-1:]
            raise SluiceError(
                f"{server.name} did not start within {START:.0f} s: {' '.join(last) or 'it said nothing'}"
            )
        time.sleep(0.05)


def _is_dead(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["status"] == "ready"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
