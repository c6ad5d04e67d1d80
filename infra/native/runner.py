"""Keeps one part running: waits for what it needs, starts it, watches it, starts it again when it crashes."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.errors import SluiceError
from infra.native import processes
from infra.native.part import Part
from infra.native.probes import NotReadyError, WaitingError
from infra.native.processes import Identity

BACK_OFF_LIMIT = 30.0  # seconds
CALM_AFTER = 60.0  # seconds of health after which the back-off begins again at one second
CHECK_EVERY = 5.0  # seconds between two health checks
PATIENCE = 3  # failed checks in a row before a part counts as unready
UP = ("ready", "done")


@dataclass(frozen=True)
class Status:
    """What is known of a part. `restarts` counts crashes since the part was first started."""

    name: str
    state: str = "stopped"  # waiting, starting, ready, unready, backoff, failed, stopped, done (a step)
    process: Identity | None = None
    restarts: int = 0
    reason: str = ""
    since: float = 0.0  # seconds since the epoch, when the state began


class Runner:
    """One part's life, in one thread. `build` gives the part with the settings of the moment; `changed` is told of every state;
    `up` answers whether another part is ready."""

    def __init__(
        self,
        name: str,
        build: Callable[[], Part],
        mark: str,
        log: Path,
        environment: Callable[[], dict[str, str]],
        changed: threading.Condition,
        up: Callable[[str], bool],
        adopted: Status | None = None,
    ) -> None:
        self.status = replace(adopted, state="starting") if adopted else Status(name)
        self._build, self._mark, self._log, self._environment = build, f"{mark}/{name}", log, environment
        self._changed, self._up = changed, up
        self._ending = threading.Event()
        self._again = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted = adopted is not None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start, unless it runs. A part that failed is tried again."""
        if self._thread and self._thread.is_alive():
            return
        self._ending.clear()
        self._thread = threading.Thread(target=self._live, name=self.status.name, daemon=True)
        self._thread.start()

    def restart(self) -> None:
        """End the process and start another; not counted as a crash."""
        self._again.set()
        self.start()

    def stop(self) -> None:
        """End the process and everything it left, and wait for that."""
        self._ending.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        self._sweep()
        self._set("stopped", process=None)

    def _set(self, state: str, reason: str = "", process: Identity | None = None, restarts: int | None = None) -> None:
        with self._changed:
            if (state, reason, process) != (self.status.state, self.status.reason, self.status.process) or restarts:
                counted = self.status.restarts if restarts is None else restarts
                self.status = Status(self.status.name, state, process, counted, reason, time.time())
                self._changed.notify_all()

    def _live(self) -> None:
        crashes = 0
        while not self._ending.is_set():
            was_ready = False
            began = time.monotonic()
            try:
                part = self._build()
                if not self._await_needs(part):
                    return
                self._obtain(part)
                was_ready = self._await_ready(part)
                if part.once:
                    return
                began = time.monotonic()
                self._watch(part)
            except SluiceError as failure:
                self._log_line(str(failure))
                if not was_ready and self.status.restarts == crashes == 0:
                    self._end_process(None)
                    self._set("failed", str(failure))
                    return
                reason = str(failure)
            except Exception as failure:  # a fault of the supervisor must show as a failed part, not as a silent thread
                self._end_process(None)
                self._set("failed", f"supervisor: {failure!r}")
                return
            else:
                self._end_process(part)
                if self._again.is_set():
                    self._again.clear()
                    crashes = 0
                    continue
                return
            self._end_process(None)
            crashes = 1 if time.monotonic() - began > CALM_AFTER and was_ready else crashes + 1
            pause = min(2.0 ** (crashes - 1), BACK_OFF_LIMIT)
            self._set("backoff", f"{reason}; next start in {pause:.0f} s", restarts=self.status.restarts + 1)
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._ending.wait(0.1) and not self._again.is_set():
            pass
        self._again.clear()

    def _await_needs(self, part: Part) -> bool:
        """Wait until everything that the part needs is ready. False if it was told to end meanwhile."""
        with self._changed:
            while not self._ending.is_set():
                missing = [need for need in part.needs if not self._up(need)]
                if not missing:
                    return True
                if not self._adopted:
                    self._set("waiting", f"for {', '.join(missing)}")
                else:
                    return True
                self._changed.wait(1.0)
        return False

    def _obtain(self, part: Part) -> None:
        """Have a process: the one that a previous supervisor left, or a new one."""
        if self._adopted and self.status.process and processes.alive(self.status.process):
            self._adopted = False
            return
        self._adopted = False
        self._again.clear()
        self._set("starting")
        self._sweep()
        part.prepare()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self._environment(), **part.environment, processes.MARK: self._mark}
        # Appending lets the log be cut while the process writes. The process has a session of its own: a Ctrl-C never reaches it.
        with self._log.open("ab") as log:
            try:
                self._child = subprocess.Popen(
                    part.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=part.directory,
                    start_new_session=True,
                )
            except OSError as failure:
                raise SluiceError(f"{part.command[0]} cannot be run: {failure.strerror}") from None
        if part.yields and not part.starts_in_front:
            processes.step_back(self._child.pid, part.yields)
        identity = processes.identify(self._child.pid) or Identity(self._child.pid, "gone")
        self._set("starting", process=identity)

    def _await_ready(self, part: Part) -> bool:
        """Wait until the part is ready. Raises SluiceError if it ends or takes too long."""
        deadline = time.monotonic() + part.start_limit
        while not self._ending.is_set() and not self._again.is_set():
            self._require_running(part)
            if part.once:
                if self._child and self._child.poll() == 0:
                    self._set("done")
                    return True
            elif (refusal := self._refusal(part.ready)) is None:
                if part.yields and part.starts_in_front and self.status.process:
                    processes.step_back(self.status.process.pid, part.yields)
                self._set("ready", process=self.status.process)
                return True
            elif isinstance(refusal, WaitingError):  # another start would not help
                deadline = time.monotonic() + part.start_limit
                self._set("starting", str(refusal), process=self.status.process)
            if time.monotonic() > deadline:
                raise SluiceError(f"not ready after {part.start_limit:.0f} s")
            self._ending.wait(0.15)
        return False

    def _watch(self, part: Part) -> None:
        """Return when told to end or to start again. Raises SluiceError when the process has ended."""
        failed, next_check = 0, time.monotonic() + CHECK_EVERY
        while not self._ending.wait(0.25) and not self._again.is_set():
            self._require_running(part)
            if time.monotonic() < next_check:
                continue
            refusal = self._refusal(part.healthy)
            failed = 0 if refusal is None else failed + 1
            next_check = time.monotonic() + CHECK_EVERY
            if refusal is None:
                self._set("ready", process=self.status.process)
            elif isinstance(refusal, WaitingError):
                self._set("unready", str(refusal), process=self.status.process)
            elif failed >= PATIENCE:
                told = str(refusal) if isinstance(refusal, NotReadyError) else ""
                reason = told or "runs, and does not answer its health check"
                self._set("unready", reason, process=self.status.process)

    def _refusal(self, probe: Callable[[], None]) -> Exception | None:
        """Why the part is not ready, if it isn't."""
        try:
            probe()
        except Exception as refusal:  # whatever goes wrong, the part is not ready
            return refusal
        return None

    def _require_running(self, part: Part) -> None:
        code = self._child.poll() if self._child else None
        if code == 0 and part.once:
            return
        if code is not None:
            raise SluiceError(f"ended with {_exit(code)}")
        if not self._child and not (self.status.process and processes.alive(self.status.process)):
            raise SluiceError("ended")

    def _end_process(self, part: Part | None) -> None:
        """End what runs of the part: gently if `part` says how, at once otherwise."""
        if process := self.status.process:
            processes.end(process, part.stop_signal if part else 9, part.stop_limit if part else 0)
        if self._child:
            self._child.wait()
            self._child = None
        self._sweep()

    def _sweep(self) -> None:
        processes.kill(processes.marked(self._mark))

    def _log_line(self, text: str) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a") as log:
            log.write(f"--- sluice: {self.status.name} {text}\n")


def _exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
