"""`sluice logs`."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import SluiceError
from infra.native import config, parts
from infra.native.control import last_lines


def logs(
    part: Annotated[str, typer.Argument(help="A part, a step (catalog, tables), or supervisor.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines to begin with.")] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as an object.")] = False,
) -> None:
    """Show the last lines of a part's log."""
    if part not in (*parts.STEPS, "supervisor"):
        parts.known_service(part)
    log = config.state_folder() / "log" / f"{part}.log"
    if not log.exists():
        raise SluiceError(f"{part} has no log yet: it was never started here ({log})")
    text = last_lines(log, lines) if lines else ""
    if as_json:
        print(json.dumps({"part": part, "file": str(log), "lines": text.splitlines()}))
        return
    begin = log.stat().st_size
    if text:
        print(text, flush=True)
    if follow:
        _follow(log, begin)


def _follow(log: Path, position: int) -> None:
    """Print what is added; a log that has become shorter was begun anew."""
    while True:
        size = log.stat().st_size
        if size < position:
            position = 0
        if size > position:
            with log.open("rb") as file:
                file.seek(position)
                added = file.read()
            position += len(added)
            print(added.decode(errors="replace"), end="", flush=True)
        else:
            time.sleep(0.2)
