"""`sluice verify`: the proof, as a table or JSON."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from catalog.errors import SluiceError
from catalog.odcs import load_contracts
from catalog.settings import lake_settings
from stream_jobs.verify import Report
from stream_jobs.verify import verify as check

DEVIATES = 1


def verify(
    stream: Annotated[
        list[str] | None, typer.Option("--stream", "-s", help="Only this stream; may be repeated.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for silver to reach the end of the topics.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each stream.")] = False,
) -> None:
    """Prove for each stream and partition that nothing acknowledged was lost and nothing counted twice.

    Topic offsets = bronze offsets, without a gap; bronze = silver + quarantine + duplicates (+ superseded, for entities).

    Exit code: 0 all is as it must be, 1 something deviates (each deviation is printed with its offsets), 2 wrong usage.
    """
    settings = lake_settings()
    contracts = load_contracts(settings.contracts)
    unknown = sorted(set(stream or ()) - set(contracts))
    if unknown:
        raise SluiceError(f"There is no stream {unknown[0]}; the streams are {', '.join(contracts)}")
    chosen = [contracts[name] for name in stream or contracts]
    console = Console()
    with console.status("verifying") if console.is_terminal and not as_json else _Quiet():
        reports = check(settings, chosen, wait=wait)
    if as_json:
        print(json.dumps([report.document() for report in reports], indent=1))
    else:
        _show(console, reports)
    if not all(report.ok for report in reports):
        sys.exit(DEVIATES)


class _Quiet:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _show(console: Console, reports: list[Report]) -> None:
    table = Table("stream", box=None, pad_edge=False, header_style="bold")
    for name in ("bronze", "silver", "quarantine", "duplicates", "superseded"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for report in reports:
        totals = report.totals
        counts = (totals.rows, totals.silver, totals.quarantine, totals.duplicates, totals.superseded)
        verdict = "[green]exact[/]" if report.ok else f"[red]{len(report.deviations)} deviations[/]"
        table.add_row(report.stream, *(f"{count:,}" for count in counts), verdict)
    console.print(table)
    for report in reports:
        for found in report.deviations:
            where = "" if found.partition is None else f" partition {found.partition}"
            offsets = f", offsets {', '.join(found.offsets)}" if found.offsets else ""
            print(f"{report.stream}{where}: {found.check}: {found.message} ({found.rows} rows{offsets})")
