"""The process that owns a stack's parts: `python -m infra.native.supervisor STATE`, started by `sluice up`, one for each state.

It answers one JSON line for each connection to the UNIX socket `run/control`, and writes every change to `run/parts.json`, from
which `status` and `down` know the parts if the supervisor is gone. Its parts live on without it; the next one takes them over.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from catalog.errors import SluiceError
from infra.native import config, parts, processes
from infra.native.records import Record, read_record, write_record
from infra.native.runner import UP, Runner, Status

LOG_LIMIT = 16 << 20  # bytes; one older file is kept


class Supervisor:
    """Runners for the parts that were asked for, and the answers to what commands ask."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.changed = threading.Condition(threading.RLock())
        self.ended = threading.Event()
        stack = self._stack()
        before = read_record(state)
        self._runners = {}
        for name in parts.NEEDS:
            found = before.parts.get(name) if before else None
            adopted = found if found and found.process and processes.alive(found.process) else None
            self._runners[name] = Runner(
                name,
                lambda name=name: parts.build(self._stack(), name),  # type: ignore[misc]
                stack.identity,
                state / "log" / f"{name}.log",
                lambda: _without_credentials(self._stack()),
                self.changed,
                self._is_up,
                adopted,
            )
        self._adopted = [name for name, runner in self._runners.items() if runner.status.process]

    def take_over(self) -> None:
        """Go on with what a supervisor that was killed left running."""
        for name in self._adopted:
            if name in parts.STEPS:
                self._runners[name].stop()
            else:
                self._runners[name].start()

    def _stack(self) -> config.Stack:
        stack = config.load(self.state)
        if stack is None:
            raise SluiceError(f"{self.state} holds no stack")
        return stack

    def _is_up(self, name: str) -> bool:
        return self._runners[name].status.state in UP

    def record(self) -> Record:
        with self.changed:
            return Record(
                processes.identify(os.getpid()), {name: runner.status for name, runner in self._runners.items()}
            )

    def keep_record(self) -> None:
        """Write the state of all parts after every change, and bound the logs; runs until the supervisor ends."""
        last: Mapping[str, Status] = {}
        while not self.ended.is_set():
            with self.changed:
                record = self.record()
                if record.parts == last:
                    self.changed.wait(2.0)
            if not config.settings_file(self.state).exists():
                print("the state folder is gone: ending its parts", flush=True)
                self.down()
                return
            if record.parts != last:
                write_record(self.state, record)
                last = record.parts
            bound_logs(self.state / "log")

    def answer(self, request: dict[str, object]) -> dict[str, object]:
        """Do what a command asks; long work goes on after the answer, and the command watches the state."""
        names = [str(name) for name in request.get("parts", [])]  # type: ignore[attr-defined]
        match request.get("do"):
            case "status":
                pass
            case "start":
                for name in names:
                    self._runners[name].start()
            case "restart":
                for name in names:
                    self._runners[name].restart()
            case "stop":
                threading.Thread(target=self.stop, args=(names,), daemon=True).start()
            case "down":
                threading.Thread(target=self.down, daemon=True).start()
            case other:
                return {"error": f"unknown request {other!r}"}
        return self.record().as_json()

    def stop(self, names: list[str]) -> None:
        """End parts, group after group in the order in which that harms nobody."""
        for group in parts.STOP_ORDER:
            chosen = [self._runners[name] for name in group if name in names]
            if chosen:
                with ThreadPoolExecutor(len(chosen)) as pool:
                    list(pool.map(Runner.stop, chosen))

    def down(self) -> None:
        self.stop(list(self._runners))
        with contextlib.suppress(FileNotFoundError):  # the state folder was deleted
            write_record(self.state, self.record())
        self.ended.set()
        with self.changed:
            self.changed.notify_all()


def _without_credentials(stack: config.Stack) -> dict[str, str]:
    """What every part is told. Which tables it reaches, it is told by its own account."""
    return config.variables(stack) | config.credentials(stack, None) | config.trino_credentials(stack, None)


def bound_logs(folder: Path) -> None:
    """Move a log's content aside when it is long. Writers append, so that they go on at the beginning."""
    for log in folder.glob("*.log"):
        if log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def serve(supervisor: Supervisor, listener: socket.socket) -> None:
    """Answer commands until the supervisor has ended."""
    listener.settimeout(0.5)
    while not supervisor.ended.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            connection.settimeout(5)
            try:
                request = json.loads(connection.makefile("rb").readline())
                connection.sendall(json.dumps(supervisor.answer(request)).encode() + b"\n")
            except (OSError, ValueError, KeyError) as failure:
                print(f"a request could not be answered: {failure!r}", flush=True)


def main(state: Path) -> int:
    run = state / "run"
    run.mkdir(parents=True, exist_ok=True)
    with (run / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # another one is at work
        os.chdir(run)  # a socket's path may have 108 bytes at most; the state folder may be deeper
        Path("control").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            os.umask(
                0o077
            )  # nobody else reads data and logs; only passing through `data` is allowed, for PostgreSQL's user
            (state / "data").mkdir(exist_ok=True)
            (state / "data").chmod(0o711)
            listener.bind("control")
            listener.listen(16)
            supervisor = Supervisor(state)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, lambda *_: threading.Thread(target=supervisor.down, daemon=True).start())
            supervisor.take_over()
            threading.Thread(target=supervisor.keep_record, daemon=True).start()
            serve(supervisor, listener)
        Path("control").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
