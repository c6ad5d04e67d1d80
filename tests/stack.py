"""A whole stack for tests: started through `./sluice up` on free ports in a scratch folder, ended with it.

`SLUICE_KEEP=1` leaves it running and says where it is. A limit in a test is what a quiet machine needs at most; it is waited
five times as long, or `SLUICE_TEST_PATIENCE` times, since a machine that is busy with other things is no fault.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from catalog.settings import LakeSettings, read_settings
from infra.access.accounts import OPERATOR
from infra.native import config

CHECKOUT = Path(__file__).resolve().parents[1]
PORTS_OF_A_STACK = 16  # thirteen of its own, and spare ones
SERVERS = ("postgres", "minio", "kafka", "trino")
PATIENCE = float(os.environ.get("SLUICE_TEST_PATIENCE", "5"))
WAIT = "300"  # seconds that `verify` waits for the stream job, which comes to the end of a test's few events in two
LONGEST = 400.0  # seconds; below the limit of a test, so that what was waited for is named
# Waits for its input to end, which it does with the test run, however that ends; unless it was told a word before.
LAST_ORDERS = """
import shutil, subprocess, sys
if not sys.stdin.read():
    subprocess.run([*sys.argv[2:], "down", "--purge", "--yes"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


def patient(limit: float) -> float:
    """Seconds to wait for what takes so many at most where nothing else runs."""
    return max(limit, min(limit * PATIENCE, LONGEST))


def ending_with_us(command: Sequence[str], signal: str = "KILL") -> list[str]:
    """A command whose process gets a signal when the test run ends without having ended it."""
    return [*(["setpriv", "--pdeathsig", signal] if shutil.which("setpriv") else []), *command]


def free_port() -> int:
    """One below those that the system gives to connections: nobody gets it by chance before it is used."""
    return free_port_base(31000, 32700)


def free_port_base(first: int = 20000, last: int = 30000) -> int:
    """The first of a row of free ports; SLUICE_TEST_PORT_BASE fixes where the search begins."""
    if named := os.environ.get("SLUICE_TEST_PORT_BASE"):
        candidates: Sequence[int] = range(int(named), int(named) + 1000, PORTS_OF_A_STACK)
    else:
        candidates = random.sample(range(first, last, PORTS_OF_A_STACK), k=50)
    for base in candidates:
        if all(_is_free(base + place) for place in range(PORTS_OF_A_STACK)):
            return base
    raise RuntimeError(f"no {PORTS_OF_A_STACK} free ports in a row between {first} and {last}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def eventually(condition: Callable[[], Any], limit: float = 60.0, what: str = "") -> Any:
    """Wait until a condition gives something true, and return it. Fails after `patient(limit)` seconds."""
    limit = patient(limit)
    deadline = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:.0f} s: {what or condition}")
        time.sleep(0.1)
    return value


@dataclass
class Stack:
    """A stack in a state folder of its own. `settings` are further SLUICE_* variables for its parts."""

    state: Path
    port_base: int
    settings: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] = (str(CHECKOUT / "sluice"),)

    def environ(self) -> dict[str, str]:
        """This process's environment without its own SLUICE_* settings, pointed at the stack."""
        kept = {"SLUICE_CACHE", "SLUICE_PYTHON", "SLUICE_IVY_SETTINGS"}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("SLUICE_") or name in kept
        }
        return {**inherited, **self.settings, "SLUICE_STATE": str(self.state)}

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `./sluice ARGUMENTS` and don't wait for it."""
        return subprocess.Popen(
            [*self.launcher, *arguments],
            env=self.environ(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def run(self, *arguments: str, stdin: str | None = None, limit: float = 900.0) -> subprocess.CompletedProcess[str]:
        """Run `./sluice ARGUMENTS` to its end, whatever its exit code."""
        return subprocess.run(
            [*self.launcher, *arguments],
            env=self.environ(),
            text=True,
            capture_output=True,
            input=stdin if stdin is not None else "",
            timeout=limit,
            check=False,
        )

    def sluice(self, *arguments: str, stdin: str | None = None, limit: float = 900.0) -> str:
        """Run `./sluice ARGUMENTS`, which must succeed, and return what it printed."""
        done = self.run(*arguments, stdin=stdin, limit=limit)
        assert done.returncode == 0, f"sluice {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *parts: str) -> str:
        """Start the named parts (all, if none is named) and wait until they are ready."""
        only = ["--only", ",".join(parts)] if parts else []
        return self.sluice("up", "--port-base", str(self.port_base), *only)

    def down(self) -> None:
        """End everything and delete the state."""
        self.sluice("down", "--purge", "--yes")

    def status(self) -> dict[str, dict[str, Any]]:
        """`status --json`, by part."""
        return {part["name"]: part for part in json.loads(self.sluice("status", "--json"))}

    def env(self) -> dict[str, str]:
        """All SLUICE_* variables of the stack, for `LakeSettings` and clients."""
        return config.environment(self.state)

    def lake(self, account: str | None = OPERATOR) -> LakeSettings:
        """The lake as the bearer of an account's credentials finds it."""
        chosen = config.load(self.state)
        assert chosen, f"no stack in {self.state}"
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**config.variables(chosen), **config.credentials(chosen, account)}.items():
                patch.setenv(name, value)
            return read_settings(LakeSettings)

    def pid(self, part: str) -> int:
        pid = self.status()[part]["pid"]
        assert isinstance(pid, int), f"{part} does not run"
        return pid

    def kill(self, part: str, number: int = 9) -> None:
        """Send a signal to a part's process, behind the supervisor's back."""
        os.kill(self.pid(part), number)

    def await_ready(self, part: str, other_than: int | None = None, limit: float = 120.0) -> dict[str, Any]:
        """Wait until a part is ready (with another pid than the given one), and return its status."""

        def ready() -> dict[str, Any] | None:
            status = self.status()[part]
            return status if status["state"] == "ready" and status["pid"] != other_than else None

        found: dict[str, Any] = eventually(ready, limit, f"{part} ready")
        return found


@contextmanager
def running_stack(*parts: str, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack with the named parts (all, if none is named), ended and deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    folder.chmod(0o755)
    stack = Stack(folder / "state", free_port_base(), settings or {})
    if os.environ.get("SLUICE_KEEP") == "1":
        stack.up(*parts)
        yield stack
        print(f"\nkept: SLUICE_STATE={stack.state} ./sluice status")
        return
    with ended_with_us(stack):
        try:
            stack.up(*parts)
            yield stack
        finally:
            if stack.state.exists():
                stack.down()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ended_with_us(stack: Stack) -> Iterator[None]:
    """The stack ends and its folder goes if the test run is killed meanwhile."""
    command = [sys.executable, "-c", LAST_ORDERS, str(stack.state.parent), *stack.launcher]
    with subprocess.Popen(
        command, env=stack.environ(), stdin=subprocess.PIPE, start_new_session=True, text=True
    ) as waiting:
        try:
            yield
        finally:
            waiting.communicate("it is ended")
