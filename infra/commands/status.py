"""`sluice status`."""

from typing import Annotated

import typer

from infra.native import config, control, parts
from infra.native import status as native


def status(
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects, one for each part.")] = False,
) -> None:
    """Show each part with its state, URL, pid, memory (of its whole process tree) and restarts after crashes."""
    state = config.state_folder()
    stack = config.load(state)
    if stack is None:
        if as_json:
            empty = [native.PartStatus(name, "stopped", None, None, None, None, 0) for name in parts.SERVICES]
            print(native.as_json(empty))
        else:
            print(f"There is no stack in {state}: start one with `sluice up`.")
        return
    view = control.view(state)
    statuses = native.part_statuses(stack, view)
    if as_json:
        print(native.as_json(statuses))
        return
    native.show(native.wide_console(), statuses)
    if not view.supervised and view.running():
        print(
            "The supervisor is gone, and nothing restarts these parts: `sluice up` takes them over, `sluice down` ends them."
        )
