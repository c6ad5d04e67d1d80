"""`sluice demo` and `sluice up --demo`: four demo sets through the gateway, and where they went."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from catalog.errors import SluiceError
from catalog.odcs import load_contracts
from catalog.settings import LakeSettings, lake_settings
from infra.demo.counts import Counts, Lake, lake
from infra.demo.sets import DemoSet, demo_sets
from ingest_gateway.client import AsyncClient, Retry
from ingest_gateway.send import Tally, deliver

LIMIT = 180.0  # seconds to wait for the tables
POLL = 1.5  # a look is a query of every table: more of them would slow what is waited for
QUERY = (
    "select wildlife_species, count(*) as strikes, sum(cost_total) as dollars from silver.wildlife_strikes "
    "group by 1 order by dollars desc limit 5"
)


@dataclass(frozen=True)
class Goal:
    """Rows that a stream's tables reach when everything that was sent has arrived: bronze, and silver with quarantine."""

    bronze: int
    kept: int

    def reached(self, counts: Counts) -> bool:
        return counts.bronze >= self.bronze and counts.silver + counts.quarantine >= self.kept


def demo() -> None:
    """Send what the lake does not hold yet of the demo data, wait until it is in silver, and show it.

    Exit code: 0 all of it is in silver, 1 something is away or late, 2 wrong usage.
    """
    run(lake_settings())


def run(settings: LakeSettings, explorer: str | None = None) -> None:
    """Send what the lake does not hold yet, wait until it is in silver, and show it. Raises SluiceError."""
    console = Console()
    sets = demo_sets(load_contracts(settings.contracts))
    streams = [one.stream.name for one in sets]
    with lake(settings) as session:
        before = session.counts(streams)
        missing = [_missing(session, one, before[one.stream.name]) for one in sets]
        _send(missing, settings, console)
        goals = {one.stream.name: _goal(one, before[one.stream.name]) for one in missing}
        with _waiting(console) as say:
            counts = _settled(session, goals, say)
            gold = _gold(session, say) if any(one.records for one in missing) else session.gold()
        _show(console, counts, gold)
    _show_addresses(console, settings, explorer)
    late = [name for name, goal in goals.items() if not goal.reached(counts[name])]
    if late:
        raise SluiceError(
            f"Not all rows of {', '.join(late)} are in silver after {LIMIT:.0f} s. Nothing is lost: see `sluice status` and "
            "`sluice logs stream`, then `sluice verify`"
        )


def _missing(session: Lake, one: DemoSet, before: Counts) -> DemoSet:
    """The part of a set that bronze does not hold: a second demo adds no row to any table."""
    known = session.known(one.stream.name, one.ids, before.bronze)
    left = [(record, name) for record, name in zip(one.records, one.ids, strict=True) if name not in known]
    return DemoSet(one.stream, tuple(record for record, _ in left), tuple(name for _, name in left))


def _goal(sent: DemoSet, before: Counts) -> Goal:
    kept = before.silver + before.quarantine
    if sent.stream.kind == "entity":
        return Goal(before.bronze + len(sent.records), max(kept, sent.kept))
    return Goal(before.bronze + len(sent.records), kept + sent.kept)


def _send(sets: list[DemoSet], settings: LakeSettings, console: Console) -> None:
    if not any(one.records for one in sets):
        console.print("The demo data is in the lake already.")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, console=console) as bars:
        for one in sets:
            bar = bars.add_task(f"send {one.stream.name}", total=len(one.records) or 1, rate="")

            def update(tally: Tally, bar: object = bar) -> None:
                bars.update(bar, completed=tally.taken, rate=f"{tally.rate:,.0f}/s")  # type: ignore[arg-type]

            if not one.records:
                bars.update(bar, completed=1, rate="there already")
                continue
            tally = asyncio.run(_deliver(one, settings, update))
            if tally.stopped or tally.refused:
                why = tally.stopped or f"the gateway refused {tally.refused} records"
                raise SluiceError(
                    f"demo data for {one.stream.name}: {why}. `sluice up --demo` goes on where this ended"
                )


async def _deliver(one: DemoSet, settings: LakeSettings, update: Callable[[Tally], None]) -> Tally:
    ids = iter(one.ids)
    key = os.environ.get("SLUICE_API_KEY")
    options: dict[str, Any] = {"source": "/sluice/demo", "key": key, "ca": settings.gateway_ca, "retry": Retry(60)}
    async with AsyncClient(settings.gateway_url, one.stream.name, **options) as client:
        return await deliver(iter(one.records), client, lambda payload: next(ids), on_progress=update)


def _settled(session: Lake, goals: Mapping[str, Goal], say: Callable[[str], None]) -> dict[str, Counts]:
    """Counts once all goals are reached and two looks agree, or when the time is over."""
    deadline, last = time.monotonic() + LIMIT, session.counts(goals)
    while time.monotonic() < deadline:
        time.sleep(POLL)
        counts = session.counts(goals)
        left = [name for name, goal in goals.items() if not goal.reached(counts[name])]
        if not left and counts == last:
            return counts
        last = counts
        say(f"waiting for {', '.join(left)} in silver" if left else "rows are in silver")
    return last


def _gold(session: Lake, say: Callable[[str], None]) -> dict[str, int]:
    """Rows of the gold models once none is empty and two looks agree; as they are after a third of the limit."""
    deadline, last = time.monotonic() + LIMIT / 3, session.gold()
    while last and time.monotonic() < deadline:
        say("waiting for the gold models")
        time.sleep(POLL)
        gold = session.gold()
        if gold == last and all(gold.values()):
            break
        last = gold
    return last


@contextmanager
def _waiting(console: Console) -> Iterator[Callable[[str], None]]:
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as spinner:
        task = spinner.add_task("waiting for the tables", total=None)
        yield lambda text: spinner.update(task, description=text)


def _show(console: Console, counts: Mapping[str, Counts], gold: Mapping[str, int]) -> None:
    table = Table("stream", box=None, pad_edge=False, header_style="bold")
    for layer in ("bronze", "silver", "quarantine"):
        table.add_column(layer, justify="right")
    for name, rows in counts.items():
        table.add_row(name, *(f"{count:,}" for count in (rows.bronze, rows.silver, rows.quarantine)))
    console.print(table)
    if gold:
        models = Table("gold model", box=None, pad_edge=False, header_style="bold")
        models.add_column("rows", justify="right")
        for name, count in gold.items():
            models.add_row(f"gold.{name}", f"{count:,}")
        console.print()
        console.print(models)


def _show_addresses(console: Console, settings: LakeSettings, explorer: str | None) -> None:
    console.print()
    addresses = {"explorer": explorer, "gateway": settings.gateway_url, "Trino": settings.trino_url}
    for name, address in addresses.items():
        if address:
            console.print(f"{name:9}{address}", highlight=False, soft_wrap=True)
    console.print("\nTry:", highlight=False)
    console.print(f'  ./sluice sql "{QUERY}"', highlight=False, soft_wrap=True)
