"""A stream job of a benchmark's own, on contracts of its own."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from catalog.errors import SluiceError
from infra.native import processes

LIMIT = 900.0
LOOK = 0.5  # seconds between two looks at the memory


@dataclass
class OwnJob:
    """A stream job that runs; `peak_rss` is the most that it and its JVM had so far, in bytes."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path
    peak_rss: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def await_running(self) -> float:
        """The moment at which its query ran."""
        return wait_until(lambda: self._state() == "running", "the stream job runs")

    def batches(self) -> list[tuple[float, int]]:
        """Seconds and rows of each batch that it committed."""
        found = []
        for line in self.log.read_bytes().splitlines():
            if b'"batch"' not in line or not line.startswith(b"{"):
                continue
            entry = orjson.loads(line)
            if entry.get("event") == "batch" and entry["batch"] >= 0:
                found.append((float(entry["seconds"]), sum(of["rows"] for of in entry["streams"].values())))
        return found

    def _state(self) -> str:
        if self.process.poll() is not None:
            last = self.log.read_text(errors="replace").splitlines()[-1:]
            raise SluiceError(f"The benchmark's stream job ended: {' '.join(last) or 'it said nothing'}")
        try:
            return str(httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False).json()["state"])
        except httpx.HTTPError:
            return ""

    def watch(self) -> None:
        """Look at its memory until it is over."""
        while not self.over.wait(LOOK):
            self.peak_rss = max(self.peak_rss, processes.resident(self.process.pid))


@contextmanager
def own_job(contracts: Path, folder: Path) -> Iterator[OwnJob]:
    """Start one, and end it afterwards. It asks for no lease: its tables are no other job's."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {
        **os.environ, "SLUICE_CONTRACTS": str(contracts), "SLUICE_STATE": str(folder),
        "SLUICE_STREAM_PORT": str(port), "SLUICE_STREAM_LEASE": "false",
    }  # fmt: skip
    log = folder / "job.log"
    command = [sys.executable, "-m", "stream_jobs"]
    with log.open("w") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        job = OwnJob(process, port, log)
        watcher = threading.Thread(target=job.watch)
        watcher.start()
        try:
            yield job
        finally:
            job.over.set()
            watcher.join()
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(condition: Callable[[], bool], what: str, pause: float = 0.1, limit: float = LIMIT) -> float:
    """The moment at which it was so. Raises SluiceError."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise SluiceError(f"Not within {limit:.0f} s: {what}")
        time.sleep(pause)
    return time.monotonic()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
