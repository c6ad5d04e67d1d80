"""Bring parts up: from what is chosen to what is ready, or back to what was there before."""

import time
from collections.abc import Iterable

from rich.console import Console

from catalog.errors import SluiceError
from infra.native import config, control, monitoring, parts, processes
from infra.native.cache import cache_folder
from infra.native.config import Stack
from infra.native.fetch import fetch, needed
from infra.native.status import url

LIMIT = 1500.0  # seconds for all parts; each has a limit of its own
WORD_EVERY = 30.0  # seconds without one more part that is ready, where no terminal shows a spinner
CRASHES_TOLERATED = 3  # of a part that ran before and crashes now


def launch(stack: Stack, services: list[str], console: Console) -> None:
    """Start those of the services that do not run and wait until all are ready.

    If a part fails, or the user interrupts, what was started here is ended again. Raises SluiceError with the end of the failing
    part's log.
    """
    before = control.view(stack.state)
    _refuse_moving(stack, before)
    if before.supervised and all(before.parts[name].state in {"ready", "unready", "backoff"} for name in services):
        unwell = [name for name in services if before.parts[name].state != "ready"]
        if not unwell:
            config.save(stack)
            console.print(f"{_all_of(services)} already up.")
            return
    monitoring.require_installed(services)
    fetch(needed(services), cache_folder())
    running = before.running()
    _require_free_ports(stack, [name for name in services if name not in running])
    config.save(stack)
    wanted = parts.with_steps(services, running)
    new = [name for name in wanted if name not in running]
    try:
        if not before.supervised:
            control.start_supervisor(stack.state)
        control.ask(stack.state, "start", wanted)
        _await_ready(stack, wanted, console)
    except BaseException as failure:
        if isinstance(failure, KeyboardInterrupt):
            console.print("Interrupted: ending what was started.")
        _roll_back(stack, new, keep=bool(running))
        raise


def _all_of(services: list[str]) -> str:
    return "Everything is" if len(services) == len(parts.SERVICES) else f"{', '.join(services)}: all"


def _refuse_moving(stack: Stack, view: control.View) -> None:
    """Ports of a running part can't change under it."""
    before = config.load(stack.state)
    if before is None or not view.running():
        return
    moved = [name for name, port in stack.ports.items() if before.ports.get(name) != port]
    if moved or any(before.binding(name) != stack.binding(name) for name in stack.ports):
        what = (
            ", ".join(f"port of {name} {before.ports.get(name)} → {stack.ports[name]}" for name in moved)
            or "SLUICE_BIND or SLUICE_UI_ALLOW_UNAUTHENTICATED"
        )
        raise SluiceError(
            f"The stack runs with other settings ({what}): `sluice down` first, then `sluice up` with the new ones"
        )


def _require_free_ports(stack: Stack, services: Iterable[str]) -> None:
    """Raises SluiceError that names every taken port, who has it and which setting moves it."""
    taken = []
    for name in config.PORT_NAMES:
        if name.partition("_")[0] not in services:
            continue
        if owner := processes.owner_of_port(stack.binding(name), stack.ports[name]):
            taken.append(
                f"Port {stack.ports[name]} for {name} is taken by {owner}: end that, or choose another with "
                f"`--port {name}=NUMBER` or SLUICE_PORT_{name.upper()}"
            )
    if taken:
        raise SluiceError("\n".join(taken))


def _await_ready(stack: Stack, wanted: list[str], console: Console) -> None:
    """Report each part as it becomes ready. Raises SluiceError when one fails."""
    began = word = time.monotonic()
    reported: set[str] = set()
    crashes = {name: status.restarts for name, status in control.view(stack.state).parts.items()}
    with console.status("starting") as spinner:
        while True:
            view = control.view(stack.state)
            if not view.supervised:
                raise SluiceError(f"The supervisor ended; see {stack.state / 'log' / 'supervisor.log'}")
            for name in wanted:
                status = view.parts[name]
                if status.state == "failed" or status.restarts >= crashes[name] + CRASHES_TOLERATED:
                    raise SluiceError(_failure(stack, name, status.reason))
                if status.state in {"ready", "done", "unready"} and name not in reported:
                    reported.add(name)
                    word = time.monotonic()
                    if name not in parts.STEPS:
                        console.print(
                            f"{name:<12} ready  {url(stack, name) or '':<50} {time.monotonic() - began:5.1f} s"
                        )
            left = [name for name in wanted if name not in reported]
            if not left:
                return
            if time.monotonic() - began > LIMIT:
                raise SluiceError(f"Not ready after {LIMIT:.0f} s: {', '.join(left)}; see `sluice logs {left[0]}`")
            waiting = f"{', '.join(left)}  ({time.monotonic() - began:.0f} s)"
            spinner.update(waiting)
            if not console.is_terminal and time.monotonic() - word > WORD_EVERY:
                word = time.monotonic()
                console.print(f"waiting for {waiting}")
            time.sleep(0.1)


def _failure(stack: Stack, name: str, reason: str) -> str:
    log = stack.state / "log" / f"{name}.log"
    lines = "\n".join(f"  {line}" for line in control.last_lines(log, 12).splitlines())
    return (
        f"{name} did not start: {reason}\n{lines}\nThe whole log: `sluice logs {name} -n 500`; `sluice doctor` shows what this "
        "machine lacks. What was started is ended again; mend the cause and run `sluice up` once more."
    )


def _roll_back(stack: Stack, new: list[str], keep: bool) -> None:
    """End what this attempt started: everything, unless parts ran before."""
    if not keep:
        control.end_all(stack.state, lambda _: None)
        return
    if control.ask(stack.state, "stop", new) is None:
        return
    deadline = time.monotonic() + 60
    while set(control.view(stack.state).running()) & set(new) and time.monotonic() < deadline:
        time.sleep(0.1)
