"""`sluice stream`: what Kafka no longer has and bronze lacks, and to go on without it."""

import getpass
import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from catalog.errors import SluiceError
from catalog.lake import open_catalog
from catalog.odcs import load_contracts
from catalog.settings import lake_settings
from infra.commands.servers import needed
from stream_jobs.losses import Loss, accept, check, current_gaps, parsed


def stream(
    accept_loss: Annotated[
        list[str] | None,
        typer.Option("--accept-loss", metavar="STREAM:PARTITION:FROM-TO", help="Go on without these; may be repeated."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in ops.losses.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who decides it, if not the one who is logged in.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each gap.")] = False,
) -> None:
    """Show the offsets that Kafka no longer has and bronze lacks; with --accept-loss go on without them, on purpose.

    A stream with such a gap is set aside. Only a range that is exactly the gap is taken. Who gave it up, when and why is kept in
    ops.losses, and `sluice verify` counts it. The stream job goes on by itself.
    """
    settings = lake_settings()
    catalog = open_catalog(settings)
    if not accept_loss:
        with needed():
            gaps = current_gaps(settings, catalog, load_contracts(settings.contracts))
        _show(gaps, as_json)
        return
    losses = list(dict.fromkeys(map(parsed, accept_loss)))
    if not reason.strip():
        raise SluiceError("--reason is missing: say why these offsets are given up; it is kept in ops.losses")
    with needed():
        check(settings, catalog, losses)
    if not yes:
        _ask(losses)
    with needed():
        accept(settings, catalog, losses, reason.strip(), by or getpass.getuser())
    if as_json:
        print(json.dumps([asdict(loss) for loss in losses], indent=1))
    else:
        for loss in losses:
            print(f"{loss}: given up, {loss.end - loss.start:,} offsets. The stream job goes on at {loss.end}.")


def _show(found: list[Loss], as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(loss) for loss in found], indent=1))
        return
    for loss in found:
        print(f"{loss}: {loss.end - loss.start:,} offsets are in neither Kafka nor bronze. To go on without them:")
        print(f"  sluice stream --accept-loss {loss} --reason '…'")
    if not found:
        print("Kafka has all that bronze lacks.")


def _ask(losses: list[Loss]) -> None:
    """Without a person to ask, `--yes` must have been given."""
    told = ", ".join(f"{loss} ({loss.end - loss.start:,} offsets)" for loss in losses)
    if not sys.stdin.isatty():
        raise SluiceError(f"Events would be given up for good: {told}. Add --yes to say that it is meant")
    if not typer.confirm(f"Give up for good {told}?"):
        raise SluiceError("Nothing was given up.")
