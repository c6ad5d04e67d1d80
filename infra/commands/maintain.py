"""`sluice maintain`: one round over the tables, as a table or JSON."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from catalog.errors import SluiceError
from catalog.lake import open_catalog
from catalog.settings import lake_settings
from infra.commands.servers import needed

FAILED_EXIT = 1


def maintain(
    table: Annotated[
        list[str] | None, typer.Option("--table", "-t", help="Only this table (silver.orders); may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for a round that runs already.")] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each thing that was done.")] = False,
) -> None:
    """Merge small files, expire old snapshots, remove files that belong to no snapshot; the stream and readers go on meanwhile.

    The running stack does the same by itself, in the part `maintenance`. What was done is kept in ops.maintenance.

    Exit code: 0 done, or nothing was to do, 1 something failed (the others were done), 2 wrong usage.
    """
    from catalog.maintenance import rounds
    from catalog.maintenance.tools import FAILED

    lake = lake_settings()
    console = Console(stderr=as_json)
    with needed():
        known = rounds.tables(open_catalog(lake))
    unknown = sorted(set(table or ()) - set(known))
    if unknown:
        raise SluiceError(f"There is no table {unknown[0]} to maintain; there are {', '.join(known) or 'none yet'}")
    chosen = [name for name in known if name in (table or known)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) if console.is_terminal else nullcontext() as bars:
        bar = bars.add_task("maintaining", total=len(chosen)) if bars else None

        def at(name: str) -> None:
            if bars and bar is not None:
                bars.update(bar, description=name, advance=1)

        done = rounds.by_hand(lake, chosen, dry_run=dry_run, wait=wait, at=at)
    if as_json:
        print(json.dumps([{**asdict(one), "at": one.at.isoformat()} for one in done], indent=1))
    else:
        _show(console, [asdict(one) for one in done])
    if any(one.outcome == FAILED for one in done):
        sys.exit(FAILED_EXIT)


def _show(console: Console, done: list[dict[str, Any]]) -> None:
    done = [one for one in done if one["outcome"] != "nothing"]
    if not done:
        console.print("nothing to do")
        return
    table = Table("table", "action", "outcome", box=None, pad_edge=False, header_style="bold")
    for name in ("files", "MiB", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("detail")
    for one in done:
        files = f"{one['files_before']:,} → {one['files_after']:,}" if one["files_before"] else ""
        size = f"{one['bytes_before'] / 2**20:,.1f} → {one['bytes_after'] / 2**20:,.1f}" if one["files_before"] else ""
        colour = {"done": "green", "failed": "red"}.get(one["outcome"], "yellow")
        table.add_row(
            one["table"], one["action"], f"[{colour}]{one['outcome']}[/]", files, size, f"{one['seconds']:.1f}", one["detail"]
        )  # fmt: skip
    console.print(table)
