"""A part's life, on small real processes."""

import dataclasses
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.native import processes
from infra.native.part import Part
from infra.native.probes import NotReadyError, WaitingError, process_only
from infra.native.records import Record, read_record, write_record
from infra.native.runner import Runner, Status
from infra.native.supervisor import LOG_LIMIT, bound_logs
from tests.stack import eventually

FOREVER = "import time; print('running', flush=True); time.sleep(600)"


def never() -> None:
    """A probe that never says ready."""
    raise NotReadyError


def python(code: str) -> Part:
    return Part("sample", (sys.executable, "-c", code), process_only, process_only)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Callable[[Part], Runner]]:
    made: list[Runner] = []

    def make(part: Part, up: Callable[[str], bool] = lambda _: True) -> Runner:
        log = tmp_path / "log" / "sample.log"
        # A runner ends whatever carries its mark: another run's must differ.
        mark = f"unit-test-{uuid.uuid4()}"
        made.append(Runner("sample", lambda: part, mark, log, dict, threading.Condition(threading.RLock()), up))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def pid_of(runner: Runner) -> int:
    assert runner.status.process
    return runner.status.process.pid


def is_ready(runner: Runner) -> bool:
    return runner.status.state == "ready"


def test_a_part_is_ready_when_its_probe_says_so(runner: Callable[[Part], Runner], tmp_path: Path) -> None:
    flag = tmp_path / "flag"

    def probe() -> None:
        flag.read_text()

    one = runner(dataclasses.replace(python(FOREVER), ready=probe))
    one.start()
    eventually(lambda: one.status.process, 10)
    assert one.status.state == "starting"
    flag.touch()
    eventually(lambda: is_ready(one), 10)


def test_a_part_that_says_why_it_cannot_work_is_shown_with_that(
    runner: Callable[[Part], Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.native.runner.CHECK_EVERY", 0.1)
    away = ["waiting: the object store does not answer"]

    def healthy() -> None:
        if away:
            raise WaitingError(away[0])

    one = runner(dataclasses.replace(python(FOREVER), healthy=healthy))
    one.start()
    eventually(lambda: one.status.state == "unready", 10)
    assert one.status.reason == away[0]
    away.clear()
    eventually(lambda: is_ready(one), 10)
    assert (one.status.reason, one.status.restarts) == ("", 0)


def test_a_part_that_starts_while_another_is_away_is_left_to_wait(runner: Callable[[Part], Runner]) -> None:
    away = ["waiting: the catalog does not answer"]
    asked = []

    def ready() -> None:
        asked.append(time.monotonic())
        if away:
            raise WaitingError(away[0])

    one = runner(dataclasses.replace(python(FOREVER), ready=ready, start_limit=0.3))
    one.start()
    eventually(lambda: asked and asked[-1] - asked[0] > 1, 10, "its limit has passed several times")
    assert (one.status.state, one.status.reason, one.status.restarts) == ("starting", away[0], 0)
    first = pid_of(one)
    away.clear()
    eventually(lambda: is_ready(one), 10)
    assert pid_of(one) == first


def test_a_crash_is_counted_and_restarted(runner: Callable[[Part], Runner]) -> None:
    one = runner(python(FOREVER))
    one.start()
    eventually(lambda: is_ready(one), 10)
    first = pid_of(one)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: is_ready(one) and pid_of(one) != first, 20)
    assert one.status.restarts == 1


def test_a_first_start_that_ends_is_a_failure_with_its_reason(runner: Callable[[Part], Runner], tmp_path: Path) -> None:
    one = runner(dataclasses.replace(python("import sys; print('no disk'); sys.exit(3)"), ready=never))
    one.start()
    eventually(lambda: one.status.state == "failed", 10)
    assert one.status.reason == "ended with exit code 3"
    assert "no disk" in (tmp_path / "log" / "sample.log").read_text()


def test_a_program_that_is_missing_is_a_failure(runner: Callable[[Part], Runner]) -> None:
    one = runner(Part("sample", ("/nowhere/program",), process_only, process_only))
    one.start()
    eventually(lambda: one.status.state == "failed", 10)
    assert "/nowhere/program cannot be run" in one.status.reason


def test_a_part_that_yields_does_so_with_all_that_it_starts(runner: Callable[[Part], Runner]) -> None:
    child = "import subprocess; subprocess.run(['sleep', '60'])"
    one = runner(Part("sample", (sys.executable, "-c", child), process_only, process_only, yields=7))
    one.start()
    eventually(lambda: is_ready(one) and len(processes.tree(pid_of(one))) == 2)
    groups = Path("/proc/self/autogroup").exists()
    for process in processes.tree(pid_of(one)):
        assert process.nice() == 7
        assert not groups or Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1] == "7"


def test_a_part_that_starts_in_front_steps_back_when_it_is_ready_with_all_its_threads(
    runner: Callable[[Part], Runner], tmp_path: Path
) -> None:
    program = """
import subprocess, threading, time
for _ in range(3):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
subprocess.run(['sleep', '60'])
"""

    def ready() -> None:
        if not (tmp_path / "ready").exists():
            raise NotReadyError("not yet")

    command = (sys.executable, "-c", program)
    one = runner(Part("sample", command, ready, process_only, yields=7, starts_in_front=True))
    one.start()
    eventually(lambda: one.status.process and len(threads_of(pid_of(one))) == 5)
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads_of(pid_of(one))} == {
        os.getpriority(os.PRIO_PROCESS, 0)
    }
    (tmp_path / "ready").touch()
    eventually(lambda: is_ready(one))
    assert [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads_of(pid_of(one))] == [7] * 5
    if Path("/proc/self/autogroup").exists():
        assert Path(f"/proc/{pid_of(one)}/autogroup").read_text().split()[-1] == "7"


def threads_of(pid: int) -> list[int]:
    return [thread.id for process in processes.tree(pid) for thread in process.threads()]


def test_a_step_is_done_when_it_has_ended_well(runner: Callable[[Part], Runner]) -> None:
    one = runner(dataclasses.replace(python("pass"), once=True))
    one.start()
    eventually(lambda: one.status.state == "done", 10)


def test_a_part_waits_for_what_it_needs(runner: Callable[..., Runner]) -> None:
    there: list[str] = []
    one = runner(dataclasses.replace(python(FOREVER), needs=("other",)), there.__contains__)
    one.start()
    eventually(lambda: one.status.state == "waiting", 10)
    there.append("other")
    eventually(lambda: is_ready(one), 10)


def test_stop_ends_descendants_even_in_sessions_of_their_own(runner: Callable[[Part], Runner], tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = (
        "import pathlib, subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"pathlib.Path({str(child)!r}).write_text(str(p.pid))\n"
        "time.sleep(600)\n"
    )
    one = runner(python(code))
    one.start()
    pid = int(eventually(lambda: child.exists() and child.read_text(), 10))
    one.stop()
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10)
    assert one.status.state == "stopped"


def test_a_part_that_ignores_the_signal_is_ended_after_the_limit(runner: Callable[[Part], Runner]) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    one = runner(dataclasses.replace(python(deaf), stop_limit=0.3))
    one.start()
    eventually(lambda: is_ready(one), 10)
    pid = pid_of(one)
    one.stop()
    assert not psutil.pid_exists(pid)


def test_another_process_with_the_same_pid_is_not_taken_for_the_old_one() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.alive(me)
    assert not processes.alive(dataclasses.replace(me, started="before"))
    assert processes.end(dataclasses.replace(me, started="before"), signal.SIGKILL, 0)  # or this test would end here


def test_a_record_survives_writing_and_reading(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    status = Status("kafka", "ready", processes.Identity(7, "a+1"), 2, "", time.time())
    record = Record(processes.Identity(8, "a+2"), {"kafka": status})
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "parts.json").write_text('{"supervisor": null, "pa')
    assert read_record(tmp_path) is None


def test_a_long_log_is_moved_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    with log.open("ab") as writer:
        writer.write(b"x" * (LOG_LIMIT + 1))
        writer.flush()
        bound_logs(tmp_path)
        writer.write(b"next\n")
    assert log.read_bytes() == b"next\n"
    assert (tmp_path / "kafka.log.1").stat().st_size == LOG_LIMIT + 1
