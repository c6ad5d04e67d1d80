"""One run of load or of the bare producer, each a process of its own, and what the server spent on it."""

import json
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Any

from catalog.errors import SluiceError
from infra.bench.gateway.load import Job
from infra.bench.gateway.servers import Server

LOOK = 0.2  # seconds between two looks at the server's memory
LIMIT = 120.0  # seconds beyond what a run should take


def load(server: Server, job: Job) -> dict[str, Any]:
    """The load's figures, and the server's: processor time of its workers, and the memory of the largest.

    `server_us_per_event` is what a busy machine changes least.
    """
    seen, spent = [server.rss_mb()], server.cpu_s()
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK):
            seen.append(server.rss_mb())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        found = _process("load", job.seconds, json.dumps(asdict(job)))
    finally:
        done.set()
        watcher.join()
    spent = server.cpu_s() - spent
    memory = {"before": seen[0], "during": max(seen), "after": server.rss_mb()}
    return {**found, "server_us_per_event": spent / max(1, found["accepted_events"]) * 1e6, "rss_mb": memory}


def bare_producer(topic: str, seconds: float) -> dict[str, Any]:
    """The bare producer's figures."""
    return _process("bare_producer", seconds, topic, str(seconds))


def _process(module: str, seconds: float, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"infra.bench.gateway.{module}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + LIMIT)
    except subprocess.TimeoutExpired:
        raise SluiceError(f"The benchmark's {module} did not end within {seconds + LIMIT:.0f} s") from None
    if done.returncode:
        raise SluiceError(f"The benchmark's {module} failed: {(done.stderr.splitlines() or ['it said nothing'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
