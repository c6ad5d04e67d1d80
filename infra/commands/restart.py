"""`sluice restart`."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from catalog.errors import SluiceError
from infra.native import config, control, parts
from infra.native.status import part_statuses

LIMIT = 240.0  # seconds


def restart(
    part: Annotated[str, typer.Argument(help="Which part.")],
    as_json: Annotated[bool, typer.Option("--json", help="The part's new status, as an object.")] = False,
) -> None:
    """End a part in an orderly way, start it with the current settings, and wait until it is ready."""
    parts.known_service(part)
    state = config.state_folder()
    stack, before = config.load(state), control.view(state)
    if stack is None or not before.supervised:
        raise SluiceError("No stack runs here: start it with `sluice up`")
    old = before.parts[part]
    control.ask(state, "restart", [part])
    deadline = time.monotonic() + LIMIT
    while (now := control.view(state)).parts[part].state != "ready" or now.parts[part].process == old.process:
        if not now.supervised or now.parts[part].state == "failed" or time.monotonic() > deadline:
            raise SluiceError(f"{part} is not ready again ({now.parts[part].reason}): see `sluice logs {part}`")
        time.sleep(0.1)
    new = next(status for status in part_statuses(stack, now) if status.name == part)
    print(json.dumps(asdict(new)) if as_json else f"{part} is ready again: pid {new.pid}")
