"""`sluice verify`: the proof, as a table or JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from catalog.errors import SluiceError
from catalog.gold_project import GoldProject
from catalog.gold_refresh import GoldSettings, silver_tables
from catalog.lake import open_catalog
from catalog.names import GOLD
from catalog.odcs import load_chosen
from catalog.settings import LakeSettings, lake_settings, read_settings
from infra.commands.servers import AWAY, told
from stream_jobs.verify import Report
from stream_jobs.verify import verify as check
from stream_jobs.verify.gold import check_gold
from stream_jobs.verify.kafka import KafkaStalledError
from stream_jobs.verify.load import Watch

DEVIATES, UNCHECKED = 1, 2
UNABLE = (SluiceError, KafkaStalledError, *AWAY)


def verify(
    stream: Annotated[
        list[str] | None, typer.Option("--stream", "-s", help="Only this stream; may be repeated.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all rows: compare bronze with Kafka, recompute silver and gold.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for silver to reach the end of the topics.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each stream.")] = False,
) -> None:
    """Prove for each stream and partition that nothing acknowledged was lost and nothing counted twice.

    Without --deep by metadata: as many rows as offsets in bronze; bronze = silver + quarantine + duplicates (+ superseded, for
    entities); nobody else wrote. With --deep row by row, against Kafka and a recompute. The result goes to ops.ledger.

    Exit code: 0 all is as it must be, 1 something deviates (each deviation is printed with its offsets), 2 it could not be checked,
    or wrong usage.
    """
    console = Console(stderr=as_json)
    try:
        settings = lake_settings()
        chosen = load_chosen(settings.contracts, stream)
        with _progress(console, quiet=as_json or not console.is_terminal) as watch:
            reports = check(settings, chosen, "deep" if deep else "quick", wait=wait, watch=watch)
            if deep:
                reports.append(_gold(settings, stream, wait))
    except UNABLE as failure:
        print(f"error: it could not be checked: {told(failure)}", file=sys.stderr)
        sys.exit(UNCHECKED)
    if as_json:
        print(json.dumps([report.document() for report in reports], indent=1))
    else:
        _show(console, reports)
    if not all(report.ok for report in reports):
        sys.exit(DEVIATES)


def _gold(settings: LakeSettings, streams: Sequence[str] | None, wait: float) -> Report:
    project = GoldProject(settings, read_settings(GoldSettings).state)
    present = silver_tables(settings) & project.sources()
    return check_gold(settings, open_catalog(settings), project, present, streams, wait)


@contextmanager
def _progress(console: Console, quiet: bool) -> Iterator[Watch]:
    """A bar for each table and topic that is read."""
    if quiet:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def watch(what: str, rows: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.advance(tasks[what], rows)

        yield watch


COUNTS = ("rows", "silver", "quarantine", "duplicates", "superseded")


def _show(console: Console, reports: list[Report]) -> None:
    table = Table("stream", box=None, pad_edge=False, header_style="bold")
    for name in ("bronze", *COUNTS[1:], "s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for report in reports:
        counts = [f"{getattr(report.totals, name):,}" if report.stream != GOLD else "" for name in COUNTS]
        verdict = "[green]exact[/]" if report.ok else f"[red]{len(report.deviations)} deviations[/]"
        table.add_row(report.stream, *counts, f"{report.seconds:.1f}", verdict)
    console.print(table)
    for report in reports:
        if accepted := sum(report.accepted.values()):
            print(f"{report.stream}: {accepted:,} offsets were given up (ops.losses)")
        if void := sum(report.void.values()):
            print(
                f"{report.stream}: {void:,} offsets of the topic hold no record for a reader (transactions, compaction)"
            )
        for found in report.deviations:
            print(f"{report.stream}: {found.line()}")
        for remark in report.unchecked:
            print(f"{report.stream}: not compared: {remark}")
