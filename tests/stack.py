"""A whole stack for tests: started through `./sluice up` on free ports in a scratch folder, ended with it.

`SLUICE_KEEP=1` leaves it running and says where it is. `SLUICE_TEST_PATIENCE=4` waits four times as long for whatever is to
come, for a machine that is busy with other things.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PORTS_OF_A_STACK = 12  # ten of its own, and spare ones
SERVERS = ("postgres", "minio", "kafka", "trino")


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
    """Wait until a condition gives something true, and return it. Fails after `limit` seconds."""
    limit *= float(os.environ.get("SLUICE_TEST_PATIENCE", "1"))
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
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *arguments: str, stdin: str | None = None, limit: float = 600.0) -> subprocess.CompletedProcess[str]:
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

    def sluice(self, *arguments: str, stdin: str | None = None, limit: float = 600.0) -> str:
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
        from infra.native.config import environment

        return environment(self.state)

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
    try:
        stack.up(*parts)
        yield stack
    finally:
        if os.environ.get("SLUICE_KEEP") == "1":
            print(f"\nkept: SLUICE_STATE={stack.state} ./sluice status")
        elif stack.state.exists():
            stack.down()
            shutil.rmtree(folder)
