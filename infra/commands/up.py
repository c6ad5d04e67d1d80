"""`sluice up`."""

import os
from typing import Annotated

import typer

from catalog.errors import SluiceError
from catalog.settings import LakeSettings, read_settings
from infra.interruption import terminated_as_interrupted
from infra.native import config, control, parts
from infra.native import status as native
from infra.native.cache import only_one
from infra.native.launch import launch
from infra.native.ports import parse_port

PARTS_HELP = f"Only these parts, separated by commas: {', '.join(parts.SERVICES)}."


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Then send the demo data and show where it went.")] = False,
    only: Annotated[str | None, typer.Option("--only", help=PARTS_HELP)] = None,
    extras: Annotated[
        list[str] | None,
        typer.Option("--with", help=f"Also {' or '.join(parts.EXTRAS)} (Prometheus and Alertmanager, if installed)."),
    ] = None,
    port: Annotated[list[str] | None, typer.Option("--port", help="PART=NUMBER, as often as needed.")] = None,
    port_base: Annotated[
        int | None, typer.Option("--port-base", help="The first of a row of ports for all parts.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The status of all parts at the end.")] = False,
) -> None:
    """Start what does not run yet: fetch what is missing, start every part, wait until all are ready.

    Options and SLUICE_* settings are kept for the next time. Ctrl-C ends what this command started.
    """
    state = config.state_folder()
    stack = config.choose(state, os.environ, _ports(port or []), port_base)
    console = native.wide_console(stderr=as_json)
    with terminated_as_interrupted(), only_one(state / "up.lock"):
        launch(stack, parts.selection(only, extras or ()), console)
    view = control.view(state)
    statuses = native.part_statuses(stack, view)
    if as_json:
        print(native.as_json(statuses))
    else:
        native.show(console, statuses)
    if demo:
        from infra.commands import demo as demonstration  # only the demo needs it

        os.environ |= config.environment(state)
        demonstration.run(read_settings(LakeSettings), os.environ["SLUICE_UI_URL"])


def _ports(options: list[str]) -> dict[str, int]:
    chosen = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in config.PORT_NAMES:
            raise SluiceError(
                f"--port {option}: write it as PART=NUMBER, with PART one of {', '.join(config.PORT_NAMES)}"
            )
        chosen[name] = parse_port(f"--port {name}", value)
    return chosen
