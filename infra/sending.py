"""What the commands that send files have in common: where to, by whose contract, with which ids, and what is shown meanwhile."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog.contract import SUFFIX, Stream
from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from infra.native import config
from ingest_gateway.client import AsyncClient, Retry
from ingest_gateway.readers import Record
from ingest_gateway.send import Identify, Refusal, Tally, deliver, from_member, identifier
from ingest_gateway.sources import FORMATS, Source

# Options that these commands share.
FormatOption = Annotated[
    str | None,
    typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}; else by the name, else by the first bytes."),
]
IdFromOption = Annotated[
    str | None, typer.Option("--id-from", help="Column, or JSON pointer, that holds each record's event id.")
]
UrlOption = Annotated[
    str | None, typer.Option(help="Gateway to send to. Default: SLUICE_GATEWAY_URL, else this stack's.")
]
PatienceOption = Annotated[
    float, typer.Option(min=0, help="Seconds to go on trying while the gateway is away or overloaded.")
]
REFUSED_SOME = 3  # exit code
IN_FLIGHT = 4  # batches
SLACK = 0.05  # seconds: the shortest sleep that is worth its call


@dataclass(frozen=True)
class Gateway:
    """Where to send, and how: `ca` is whom to trust for its certificate, `patience` the seconds to go on trying."""

    url: str
    ca: Path | None
    stream: str
    source: str  # CloudEvents' source of what is sent
    patience: float
    batch: int
    in_flight: int = IN_FLIGHT


def gateway_address(url: str | None, settings: LakeSettings) -> tuple[str, Path | None]:
    """What was asked for, SLUICE_GATEWAY_URL, or the gateway of the stack that this checkout runs; and whom to trust for it."""
    stack = None if url or os.environ.get("SLUICE_GATEWAY_URL") else config.load(config.state_folder())
    if stack is None:
        return url or settings.gateway_url, settings.gateway_ca
    return stack.url("gateway"), stack.ca("gateway") or settings.gateway_ca


def contract_of(folder: Path, stream: str) -> Stream | None:
    """The stream's contract, if this machine has it: a gateway far away may know more streams."""
    path = folder / f"{stream}{SUFFIX}"
    if not path.is_file():
        return None
    # Reading the standard's schema takes a while, and `--help` should not wait for it.
    from catalog.odcs import load_contract

    return load_contract(path)


def by_arrival(contract: Stream | None) -> bool:
    """Whether only the order of arrival tells which of two states of a key is newer."""
    return contract is not None and contract.kind == "entity" and contract.event_time is None


def identify_by(id_from: str | None, contract: Stream | None, stream: str) -> Identify:
    """Ids from the column or JSON pointer, else from the content, for one file. Raises SluiceError for one that is not there."""
    if id_from is None:
        return identifier(stream)
    if id_from.startswith("/"):
        steps = (step.replace("~1", "/").replace("~0", "~") for step in id_from[1:].split("/"))
        return from_member(tuple(int(step) if step.isascii() and step.isdigit() else step for step in steps))
    if contract is None:
        return from_member((id_from,))
    column = next((c for c in contract.columns if id_from in (c.name, c.title)), None)
    if column is None:
        names = ", ".join(c.name for c in contract.columns)
        raise SluiceError(f"--id-from {id_from}: {stream} has no such column; it has {names}")
    return from_member(column.pointer)


def send_records(
    source: Source, gateway: Gateway, identify: Identify, on_refusal: Callable[[Refusal], None], shown: "Shown"
) -> Tally:
    """Send a file to its end, or until the gateway stays away, or somebody presses Ctrl-C; the tally says which."""

    async def run() -> Tally:
        options: dict[str, Any] = {
            "key": os.environ.get("SLUICE_API_KEY"),
            "ca": gateway.ca,
            "retry": Retry(gateway.patience),
            "on_wait": shown.waits,
        }
        async with AsyncClient(gateway.url, gateway.stream, source=gateway.source, **options) as client:
            return await deliver(
                source.records, client, identify, batch=gateway.batch, in_flight=gateway.in_flight,
                on_progress=shown.update, on_refusal=on_refusal,
            )  # fmt: skip

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        tally = shown.tally
        tally.stopped = "Stopped by you"
        return tally


def paced(records: Iterator[Record], rate: int) -> Iterator[Record]:
    """No more than `rate` records a second; 0: all at once. What a slow reader or gateway lost is not made up for."""
    due = time.monotonic()
    for record in records:
        yield record
        if rate:
            due = max(due, time.monotonic() - SLACK) + 1 / rate
            if (ahead := due - time.monotonic()) > SLACK:
                time.sleep(ahead)


@dataclass
class Shown:
    """The progress display. Without one, it only remembers the counts and says on stderr what it waits for."""

    source: Source
    bar: Any = None
    task: Any = None
    tally: Tally = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.tally = Tally()

    def update(self, tally: Tally) -> None:
        """Show the counts."""
        self.tally = tally
        if self.bar is not None:
            counts = f"{tally.taken:,} taken" + (f", [red]{tally.refused:,} refused[/]" if tally.refused else "")
            done = self.source.done()
            self.bar.update(self.task, completed=done, counts=counts, rate=f"{tally.rate:,.0f}/s", wait="")

    def waits(self, reason: str, seconds: float) -> None:
        """Show what is waited for."""
        if self.bar is not None:
            self.bar.update(self.task, wait=f"[yellow]{reason}; next try in {seconds:.1f} s[/]")
        else:
            print(f"{reason}; next try in {seconds:.1f} s", file=sys.stderr)


@contextmanager
def progress(source: Source, wanted: bool, name: str | None = None) -> Iterator[Shown]:
    """A bar on a terminal, called `name`, else as the source."""
    if not wanted or not sys.stderr.isatty():
        yield Shown(source)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[wait]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name or source.name, total=source.total, counts="", rate="", wait="")
        yield Shown(source, bar, task)
