"""`sluice apply`: make the lake what the contracts say."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from catalog.apply import Change
from catalog.apply import apply as make
from catalog.query import TrinoAwayError
from catalog.settings import LakeSettings, lake_settings
from infra.access.trino import follow_contracts


def apply(
    gold: Annotated[bool, typer.Option(help="Build the gold models too (needs Trino).")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="A list of what was done.")] = False,
) -> None:
    """Create topics, tables and gold models for every contract; evolve those that exist.

    Additive and widening changes are applied while the stack runs. What would break readers is refused, with the reason,
    before anything is changed. Run it again whenever you like: what is there already stays as it is.

    Exit code: 0 done, 1 refused or a server is away, 2 wrong usage.
    """
    settings = lake_settings()
    console = Console(stderr=as_json)
    changes = make(settings)
    follow_contracts(settings)
    if gold:
        changes += _gold(settings, console)
    if as_json:
        print(json.dumps([asdict(change) for change in changes]))
        return
    if not changes:
        console.print("Everything is as the contracts say.")
        return
    table = Table("stream", "where", "what was done", box=None, pad_edge=False, header_style="bold")
    for change in changes:
        table.add_row(change.stream, change.target, change.action)
    console.print(table)


def _gold(settings: LakeSettings, console: Console) -> list[Change]:
    from catalog.gold_refresh import build  # dbt takes seconds to import

    try:
        with console.status("building gold models"):
            result = build(settings)
    except TrinoAwayError as away:
        console.print(f"Gold is left as it is: {away}", soft_wrap=True)
        return []
    return [
        Change("", f"gold.{node.name}", node.status) for node in result.nodes if node.status not in ("success", "pass")
    ]
