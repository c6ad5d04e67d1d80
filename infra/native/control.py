"""How commands reach a stack: through its supervisor, or, if that was killed, through what it wrote down."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.errors import SluiceError
from infra.native import config, parts, processes
from infra.native.records import Record, read_record, write_record
from infra.native.runner import Status

DOWN_LIMIT = 240.0  # seconds; after that a supervisor that does not end is ended


@dataclass(frozen=True)
class View:
    """A stack as a command sees it. Without a supervisor, parts that still run are `unsupervised`."""

    supervised: bool
    parts: dict[str, Status]

    def running(self) -> list[str]:
        return [name for name, status in self.parts.items() if status.process and processes.alive(status.process)]


def ask(state: Path, do: str, names: Iterable[str] = ()) -> Record | None:
    """Put a request to the supervisor. None if there is none."""
    try:
        with _connection(state / "run") as connection:
            connection.sendall(json.dumps({"do": do, "parts": list(names)}).encode() + b"\n")
            line = connection.makefile("rb").readline()
    except (FileNotFoundError, ConnectionError):
        return None
    except TimeoutError:
        raise SluiceError(
            f"The supervisor does not answer; see {state / 'log' / 'supervisor.log'}, or end all with `sluice down`"
        ) from None
    if not line:
        return None
    document = json.loads(line)
    if "error" in document:
        raise SluiceError(str(document["error"]))
    return Record.from_json(document)


@contextmanager
def _connection(folder: Path):  # type: ignore[no-untyped-def]
    """Connect to the socket in a folder whose path may be longer than a socket's address may be."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        short = Path(f"/proc/self/fd/{descriptor}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str((short if short.exists() else folder) / "control"))
            yield connection
    finally:
        os.close(descriptor)


def view(state: Path) -> View:
    """The state of every part, from the supervisor or, if it is gone, from its record and the processes that are there."""
    if record := ask(state, "status"):
        # A part that is younger than the supervisor is one that was never started.
        return View(True, {name: record.parts.get(name, Status(name, state="stopped")) for name in parts.NEEDS})
    before = read_record(state)
    found = {}
    for name in parts.NEEDS:
        status = before.parts.get(name, Status(name)) if before else Status(name)
        if status.process and processes.alive(status.process):
            found[name] = replace(status, state="unsupervised", reason="the supervisor is gone")
        else:
            found[name] = replace(status, state="stopped", process=None, reason="")
    return View(False, found)


def start_supervisor(state: Path) -> None:
    """Start the supervisor of a state folder in a session of its own, and wait until it answers."""
    (state / "run").mkdir(parents=True, exist_ok=True)
    (state / "log").mkdir(parents=True, exist_ok=True)
    # What is kept with the stack must not be overridden by what the shell of the first `up` said.
    dropped = {processes.MARK, *config.LAKE_DEFAULTS}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["PYTHONPATH"] = str(config.CHECKOUT)
    with (state / "log" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "infra.native.supervisor", str(state)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while ask(state, "status") is None:
            if process.poll() not in (None, 0) or time.monotonic() > deadline:
                raise SluiceError(f"The supervisor did not start: {last_lines(state / 'log' / 'supervisor.log', 1)}")
            time.sleep(0.05)
    except BaseException:
        process.kill()
        raise


def end_all(state: Path, told: Callable[[str], None]) -> list[str]:
    """End every process of the stack and no other; returns which parts ran. `told` is called for each that has ended."""
    try:
        stack = config.load(state)
    except SluiceError:  # unreadable, and no reason to leave processes behind: what runs is in the record too
        stack = None
    before = view(state)
    ran = before.running()
    if before.supervised:
        _down_by_supervisor(state, ran, told)
    _end_orphans(state, told)
    if stack:
        processes.kill(processes.marked(stack.identity))
    return ran


def _down_by_supervisor(state: Path, ran: list[str], told: Callable[[str], None]) -> None:
    record = ask(state, "down")
    left = set(ran)
    deadline = time.monotonic() + DOWN_LIMIT
    while record and record.supervisor and processes.alive(record.supervisor):
        now = view(state)
        for name in [name for name in ran if name in left and name not in now.running()]:
            left.discard(name)
            told(name)
        if time.monotonic() > deadline:
            processes.end(record.supervisor, 9, 0)
        time.sleep(0.1)
    for name in [name for name in ran if name in left]:
        if name not in view(state).running():
            told(name)


def _end_orphans(state: Path, told: Callable[[str], None]) -> None:
    """End what a killed supervisor left, in the usual order."""
    record = read_record(state)
    if record is None:
        return
    if record.supervisor:
        processes.end(record.supervisor, 9, 0)
    signals = {"postgres": 2}
    for group in parts.STOP_ORDER:
        for name in group:
            status = record.parts.get(name)
            if status and status.process and processes.alive(status.process):
                processes.end(status.process, signals.get(name, 15), 20)
                told(name)
    stopped = {name: replace(status, state="stopped", process=None) for name, status in record.parts.items()}
    write_record(state, Record(None, stopped))


def last_lines(log: Path, count: int) -> str:
    """The last lines of a log; reads no more than its last 256 KiB."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - (256 << 10), 0))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""
