"""Which processes are a stack's own."""

import contextlib
import json
import os

import psutil

from infra.native import processes
from tests.stack import Stack

QUICK = ("postgres", "minio")


def belonging_to(stack: Stack) -> list[psutil.Process]:
    """Every process that was started for a stack, the supervisor too."""
    found = {process.pid: process for process in processes.marked(identity(stack))}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(stack.state) in argument for argument in process.cmdline()):
                found[process.pid] = process
    return [process for pid, process in found.items() if pid != os.getpid()]


def identity(stack: Stack) -> str:
    settings = stack.state / "stack.json"
    return str(json.loads(settings.read_text())["identity"]) if settings.exists() else "none"


def supervisor_pid(stack: Stack) -> int:
    return int(json.loads((stack.state / "run" / "parts.json").read_text())["supervisor"]["pid"])
