"""`sluice down`."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import SluiceError
from infra.native import config, control
from infra.native.cache import only_one


def down(
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the state too: topics, tables, logs, passwords.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was ended, as an object.")] = False,
) -> None:
    """End every part that was started, in the order that loses nothing, and no other process."""
    state = config.state_folder()
    if purge and not yes:
        _ask(state.exists(), str(state))
    if not state.exists():
        _tell(as_json, [], False, f"There is no stack in {state}.")
        return
    with only_one(state / "up.lock"):
        ended = control.end_all(state, lambda name: None if as_json else print(f"ended {name}", flush=True))
    if purge:
        _delete(state)
    text = "Nothing was running." if not ended else "Everything is ended; the data stays."
    _tell(as_json, ended, purge, f"Deleted {state}." if purge else text)


def _ask(there: bool, state: str) -> None:
    """Ask before anything is lost. Without a person to ask, `--yes` must have been given."""
    if not there:
        return
    if not sys.stdin.isatty():
        raise SluiceError(f"--purge deletes all data in {state}: add --yes to say that it is meant")
    if not typer.confirm(f"End the stack and delete all data in {state}?"):
        raise SluiceError("Nothing was ended or deleted.")


def _delete(state: Path) -> None:
    if not config.settings_file(state).exists() and any(state.iterdir()) and not (state / "run").exists():
        raise SluiceError(f"{state} does not look like a stack's state; it was not deleted")
    # A file that something else removes meanwhile is gone too; what can't be removed is told.
    shutil.rmtree(state, ignore_errors=True)
    if state.exists():
        raise SluiceError(f"{state} could not be deleted as a whole: see who owns what is left, then run it again")


def _tell(as_json: bool, ended: list[str], purged: bool, text: str) -> None:
    print(json.dumps({"ended": ended, "purged": purged}) if as_json else text)
