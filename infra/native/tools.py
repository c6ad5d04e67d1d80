"""Run the programs that fetch (java, pip, go), so that an interruption ends them and an error says what they said."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event

from catalog.errors import SluiceError


class InterruptedFetchError(Exception):
    """The fetch was told to stop."""


def run_tool(
    command: Sequence[str],
    log: Path,
    stop: Event,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run to the end in a process group of its own, output to `log`, calling `watch` five times a second.

    Raises SluiceError with the last lines of the log if it fails, InterruptedFetchError if `stop` is set meanwhile.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as failure:
            raise SluiceError(f"{command[0]} cannot be run: {failure.strerror}") from None
    try:
        while process.poll() is None:
            if stop.wait(0.2):
                raise InterruptedFetchError
            if watch:
                watch()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise SluiceError(f"{Path(command[0]).name} failed: {last_reason(log)}")


def last_reason(log: Path) -> str:
    """The line of a log that most looks like the reason for a failure."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [
        line for line in lines if any(word in line.lower() for word in ("error", "unresolved", "not found", "unknown"))
    ]
    return ((telling or lines or ["no output"])[-1])[:300]
