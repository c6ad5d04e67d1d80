"""`sluice restore`: fill the catalog's database anew."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from catalog.errors import SluiceError
from catalog.recovery import backup as backups
from catalog.recovery.restore import LOST, MOVED, REGISTERED, Step, carried_out, nobody_writes, planned
from catalog.settings import lake_settings
from infra.commands.servers import needed
from infra.native.status import wide_console

FAILED_EXIT = 1
COLOURS = {LOST: "red", MOVED: "yellow", REGISTERED: "green"}


def restore(
    file: Annotated[Path | None, typer.Argument(help="What `sluice backup` wrote.")] = None,
    from_bucket: Annotated[
        bool, typer.Option("--from-bucket", help="Without a backup: all tables of streams and `ops` that lie in the bucket.")
    ] = False,
    exactly: Annotated[
        bool, typer.Option("--exactly", help="Go back to the state of the backup; what came since is read from Kafka again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before going back.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each table.")] = False,
) -> None:  # fmt: skip
    """Make the catalog know its tables again, each as its newest commit left it, after PostgreSQL's data was lost or is old.

    It needs PostgreSQL and the object store, and nobody who writes. Tables that the catalog points to rightly stay as they are, so
    it may be repeated. Gold that can't be found is made anew of silver.

    Exit code: 0 done, 1 a table could not be restored (the others were) or nothing was changed, 2 wrong usage.
    Example: ./sluice restore catalog.json, or ./sluice restore --from-bucket
    """
    if (file is None) == (not from_bucket):
        raise typer.BadParameter("name the file of a backup, or --from-bucket")
    if exactly and file is None:
        raise typer.BadParameter("--exactly needs the file of a backup")
    settings = lake_settings()
    backup = backups.load(file, settings) if file is not None else None
    console = Console(stderr=True)
    with needed(), nobody_writes(settings):
        with console.status("looking at the bucket") if console.is_terminal and not as_json else nullcontext() as shown:
            steps = planned(settings, backup, exactly, lambda name: shown.update(name) if shown else None)
        if exactly and not dry_run and not yes:
            _ask(backup.made_at if backup else "")
        if not dry_run:
            steps = carried_out(settings, steps, backup, exactly)
    if as_json:
        print(json.dumps([_document(step) for step in steps], indent=1))
    else:
        _show(steps, dry_run)
    if any(step.outcome == LOST for step in steps):
        sys.exit(FAILED_EXIT)


def _ask(made_at: str) -> None:
    if not sys.stdin.isatty():
        raise SluiceError(f"The tables would go back to {made_at}: add --yes to say that it is meant")
    if not typer.confirm(f"Let the tables go back to {made_at}, and have what came since read from Kafka again?"):
        raise SluiceError("Nothing was changed.")


def _document(step: Step) -> dict[str, Any]:
    file = step.file
    return {
        "table": step.identifier, "kind": step.kind, "outcome": step.outcome, "was": step.was,
        "metadata_location": file.path if file else None, "rows": file.rows if file else None,
        "offsets": {str(partition): offset for partition, offset in file.offsets.items()} if file else {},
        "note": step.note, "refused": dict(step.refused),
    }  # fmt: skip


def _show(steps: list[Step], dry_run: bool) -> None:
    if not steps:
        print("There is nothing to restore: no table lies in the bucket.")
        return
    table = Table("name", "outcome", box=None, pad_edge=False, header_style="bold")
    for name in ("number", "rows"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for step in steps:
        rows = step.file.rows if step.file else None
        beside = f"{len(step.refused)} other files were not taken" if step.refused else ""
        table.add_row(
            step.identifier, f"[{COLOURS.get(step.outcome, 'default')}]{step.outcome}[/]",
            str(step.file.version) if step.file else "", f"{rows:,}" if rows is not None else "",
            "; ".join(filter(None, (step.note, beside))),
        )  # fmt: skip
    wide_console().print(table)
    for step in steps:
        for path, reason in step.refused.items():
            print(f"{step.identifier}: {path.rpartition('/')[2]} was not taken: {reason}")
    print("Nothing was changed." if dry_run else "Now start the rest: `sluice up`. Then `sluice verify`.")
