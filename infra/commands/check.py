"""`sluice check`: the contracts' quality rules over whole tables, as a table or JSON."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from catalog import quality
from catalog.errors import SluiceError
from catalog.lake import open_catalog
from catalog.odcs import load_chosen
from catalog.settings import lake_settings
from infra.commands.servers import AWAY, told

BROKEN_EXIT, UNCHECKED_EXIT = 1, 2
COLOURS = {quality.KEPT: "green", quality.BROKEN: "red", quality.FAILED: "red"}


def check(
    stream: Annotated[
        list[str] | None, typer.Option("--stream", "-s", help="Only this stream; may be repeated.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Only rows received in the last DAYS days. Default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each rule.")] = False,
) -> None:
    """Judge the contracts' quality rules over the silver tables: row counts, duplicates, shares of bad values, queries.

    Rules of rows are judged too: silver holds no row that broke a rule of severity error when it came, but may hold some that are
    older than the rule, and it holds those that break a warning. The result goes to ops.checks.

    Exit code: 0 all is well, or no more than warnings are broken; 1 a rule of severity error is broken, or one could not be
    computed (each is named); 2 nothing could be checked, or wrong usage.

    Examples: `sluice check`, `sluice check -s orders --days 7 --json`.
    """
    console = Console(stderr=as_json)
    began = datetime.now(UTC)
    try:
        lake = lake_settings()
        chosen = load_chosen(lake.contracts, stream)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        judged: list[quality.Judged] = []
        with Progress(*columns, console=console, transient=True) if console.is_terminal else nullcontext() as bars:
            bar = bars.add_task("checking", total=len(chosen)) if bars else None
            for one in chosen:
                if bars and bar is not None:
                    bars.update(bar, description=one.name)
                judged += quality.judge(lake, one, days)
                if bars and bar is not None:
                    bars.advance(bar)
        quality.record(open_catalog(lake), began, judged)
    except (SluiceError, *AWAY) as failure:
        print(f"error: it could not be checked: {told(failure)}", file=sys.stderr)
        sys.exit(UNCHECKED_EXIT)
    if as_json:
        print(json.dumps([{**asdict(one), "ok": one.ok} for one in judged], indent=1))
    else:
        _show(console, judged)
    if not all(one.ok for one in judged):
        sys.exit(BROKEN_EXIT)


def _show(console: Console, judged: list[quality.Judged]) -> None:
    if not judged:
        console.print("no contract has a rule")
        return
    table = Table("stream", "rule", box=None, pad_edge=False, header_style="bold")
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("must be", no_wrap=True)
    table.add_column("of rows", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in judged:
        found = "" if one.value is None else f"{one.value:,.10g}"
        colour = "yellow" if one.ok and one.outcome == quality.BROKEN else COLOURS[one.outcome]
        verdict = f"[{colour}]{'warning' if colour == 'yellow' else one.outcome}[/]"
        table.add_row(
            one.stream, escape(one.rule), found, one.bound, "" if one.rows is None else f"{one.rows:,}", verdict
        )
    console.print(table)
    for one in judged:
        if one.outcome != quality.KEPT:
            print(f"{one.stream}: {one.rule}: {one.detail}")
