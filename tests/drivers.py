"""Stream jobs as tests see them: the stack's own, and others beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil

from tests.stack import CHECKOUT, Stack, ending_with_us, eventually, free_port, patient


class Driver(Protocol):
    """One stream job. `scratch` is where its orders to be killed or paused are laid."""

    @property
    def scratch(self) -> Path: ...

    @property
    def pid(self) -> int: ...

    def health(self) -> dict[str, Any]: ...


def state(driver: Driver) -> str:
    """What it says of itself; empty if it does not answer."""
    return str(driver.health().get("state", ""))


def is_paused(driver: Driver) -> bool:
    return psutil.Process(driver.pid).status() == psutil.STATUS_STOPPED


@dataclass(frozen=True)
class Own:
    """The stack's own part `stream`, under its supervisor."""

    stack: Stack

    @property
    def scratch(self) -> Path:
        return self.stack.state / "stream"

    @property
    def pid(self) -> int:
        return self.stack.pid("stream")

    def health(self) -> dict[str, Any]:
        return _health(self.stack.env()["SLUICE_STREAM_URL"])


@dataclass
class Beside:
    """Another one on the same lake, with a state folder and settings of its own; nobody starts it again."""

    stack: Stack
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def scratch(self) -> Path:
        return self.folder / "stream"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def health(self) -> dict[str, Any]:
        return _health(f"http://127.0.0.1:{self.port}")

    def start(self) -> None:
        environment = {**os.environ, **self.stack.environ(), **self.stack.env()}
        environment |= {"SLUICE_STREAM_PORT": str(self.port), "SLUICE_STATE": str(self.folder),
                        "SLUICE_STREAM_MEMORY": "512m", "SLUICE_STREAM_FAULTS": "1",
                        "SLUICE_STREAM_LEASE_PATIENCE": "5", **self.settings}  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            command = ending_with_us([sys.executable, "-m", "stream_jobs"])
            self.process = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=log, stderr=log)

    def stop(self) -> int:
        """Its exit code, after an orderly end."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(patient(90))


@contextmanager
def beside(stack: Stack, name: str, **settings: str) -> Iterator[Beside]:
    """A second stream job, ended afterwards."""
    driver = Beside(stack, stack.state / name, settings)
    driver.start()
    try:
        yield driver
    finally:
        if driver.process is not None and driver.process.poll() is None:
            driver.process.send_signal(18)  # SIGCONT: a paused one would never end
            driver.stop()


def reason(driver: Driver) -> str:
    """Why it does not work, in its words; empty if it does not answer."""
    return str(driver.health().get("reason", ""))


def await_turns(one: Driver, other: Driver) -> tuple[Driver, Driver]:
    """Wait until one of two runs and the other stands by; returned in this order."""

    def turns() -> tuple[Driver, Driver] | None:
        found = {state(one): one, state(other): other}
        return (found["running"], found["standby"]) if found.keys() == {"running", "standby"} else None

    decided: tuple[Driver, Driver] = eventually(turns, 120, "one runs, one waits")
    return decided


def await_state(driver: Driver, wanted: str, limit: float = 120.0) -> None:
    eventually(lambda: state(driver) == wanted, limit, f"a stream job that is {wanted}")


def _health(url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = httpx.get(f"{url}/healthz", timeout=30).json()
    except httpx.HTTPError:
        return {}
    return found


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """The process and all that it started."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            if process.is_running():
                process.resume()
