"""Which process is whose: identified by pid and start time, never by name."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

AUTOGROUP_TRIES = 20
PASSES = 5
MARK = "SLUICE_SUPERVISED"  # in the environment of every process of a part: STACK/PART


@dataclass(frozen=True)
class Identity:
    """A process for all time: a pid is used again, a pid with its start time is not."""

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """The process that has this pid now, or None if there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, _start_of(process))
    except psutil.Error:
        return None


def _start_of(process: psutil.Process) -> str:
    # Clock ticks since boot do not move when the clock is set, unlike a time computed from them.
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()[:8]}+{fields[19]}"
    except FileNotFoundError:
        return str(process.create_time())


def alive(identity: Identity) -> bool:
    return identify(identity.pid) == identity


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants, as far as they still exist."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def step_back(pid: int, nice: int) -> None:
    """Let a process, the leader of its session, with all its threads, and all that it has started or will, yield to others.

    Where Linux shares the processors among sessions first (autogroups: proc_pid_autogroup in sched(7)), a nice value weighs only
    within a session, so the session gets it too.
    """
    for _ in range(PASSES):  # a thread inherits from who made it, perhaps a moment too early
        ahead = [thread for thread in _threads(pid) if _niceness(thread) < nice]
        for thread in ahead:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, thread, nice)
        if not ahead:
            break
    for _ in range(AUTOGROUP_TRIES):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
        except BlockingIOError:  # who isn't root may set one each tenth of a second
            time.sleep(0.1)
        except OSError:  # no such groups here, or the process has ended
            return
        else:
            return


def _threads(pid: int) -> list[int]:
    """The threads of a process and of its descendants."""
    found = []
    for process in tree(pid):
        with contextlib.suppress(OSError):
            found += [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
    return found


def _niceness(thread: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, thread)
    except ProcessLookupError:
        return sys.maxsize  # it has ended


def resident(pid: int) -> int:
    """Resident bytes of a process and its descendants."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def marked(mark: str) -> list[psutil.Process]:
    """Processes whose environment carries the mark: those that a part left behind, whatever became of their parents."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(MARK, "")
            if (value == mark or value.startswith(f"{mark}/")) and process.pid != os.getpid():
                found.append(process)
    return found


def end(identity: Identity, stop_signal: int, limit: float) -> bool:
    """Ask a process to end; after `limit` seconds end it and its descendants for good. Returns whether it went by itself."""
    descendants = tree(identity.pid)[1:] if alive(identity) else []
    if not _send(identity, stop_signal):
        kill(descendants)
        return True
    deadline = time.monotonic() + limit
    while alive(identity) and time.monotonic() < deadline:
        descendants += [child for child in tree(identity.pid)[1:] if child not in descendants]
        time.sleep(0.05)
    willing = not alive(identity)
    _send(identity, signal.SIGKILL)
    kill(descendants)
    while alive(identity):
        time.sleep(0.02)
    return willing


def _send(identity: Identity, number: int) -> bool:
    if not alive(identity):
        return False
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return False
    return True


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL; psutil makes sure that the pid still is the process that was seen."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def owner_of_port(bind: str, port: int) -> str | None:
    """Who listens there: `pid 4711 (python -m http.server)`; None if the port is free."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            return None
        except PermissionError:
            return "the system (ports below 1024 are for root)"
        except OSError as failure:
            if isinstance(failure, socket.gaierror) or failure.errno == 99:
                return f"nobody, but {bind} is no address of this machine (SLUICE_BIND)"
    try:
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                with contextlib.suppress(psutil.Error):
                    command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                    return f"pid {connection.pid} ({command})"
    except psutil.AccessDenied:
        pass
    return "a process of another user"
