"""`sluice send`: the records of a file, through the gateway, into the lake."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from catalog.contract import SUFFIX, Stream
from catalog.errors import SluiceError
from catalog.settings import LakeSettings, lake_settings
from infra.native import config
from ingest_gateway.client import AsyncClient, Retry
from ingest_gateway.send import Identify, Refusal, Tally, deliver, from_member, identifier
from ingest_gateway.sources import FORMATS, Source, open_source

REFUSED_SOME = 3


def send(
    file: Annotated[str, typer.Argument(help="File to send, plain or gzipped; - for standard input.")],
    stream: Annotated[str, typer.Option("--stream", "-s", help="Stream to send to.")],
    form: Annotated[
        str | None,
        typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}; else by the name, else by the first bytes."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Records in a request.")] = 500,
    rejected: Annotated[
        Path | None,
        typer.Option(help="Where refused records go, with reasons (NDJSON). Default: FILE.rejected.ndjson."),
    ] = None,
    id_from: Annotated[
        str | None, typer.Option("--id-from", help="Column, or JSON pointer, that holds each record's event id.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Gateway to send to. Default: SLUICE_GATEWAY_URL, else this stack's.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to go on trying while the gateway is away or overloaded.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Send the records of FILE to a stream: CSV, JSON, NDJSON, GeoJSON features or Parquet.

    CSV cells are typed by the stream's contract; headers may be column names or business names. Each record gets an id
    from its content and its turn among equal records, so sending the same file again adds nothing, and a run that was cut
    short may simply be started again.

    Exit code: 0 all records taken, 3 some refused (they are in the file of rejected records), 1 not finished. The API key is read
    from SLUICE_API_KEY.
    """
    settings = lake_settings()
    contract = _contract(settings.contracts, stream)
    rejects = _Rejects(rejected or Path(f"{'stdin' if file == '-' else file}.rejected.ndjson"), file)
    source = open_source(file, contract, form)
    with closing(source), _progress(source, not as_json) as shown:
        tally = _run(source, stream, contract, *_gateway(url, settings), _identify(id_from, contract, stream),
                     batch, patience, rejects, shown)  # fmt: skip
    rejects.close(finished=tally.stopped is None)
    _report(source, stream, tally, rejects, as_json)
    if tally.stopped is not None:
        raise SluiceError(
            f"{tally.stopped}. {tally.taken:,} of the {tally.read:,} records read so far were acknowledged; "
            "start the same command again, it adds none twice"
        )
    if tally.refused:
        raise typer.Exit(REFUSED_SOME)


def _run(
    source: Source, stream: str, contract: Stream | None, url: str, ca: Path | None, identify: Identify, batch: int,
    patience: float, rejects: "_Rejects", shown: "_Shown",
) -> Tally:  # fmt: skip
    # A state must not overtake an older one of the same key, where only the order of arrival tells which is newer.
    one_by_one = contract is not None and contract.kind == "entity" and contract.event_time is None

    async def run() -> Tally:
        options: dict[str, Any] = {
            "key": os.environ.get("SLUICE_API_KEY"),
            "ca": ca,
            "retry": Retry(patience),
            "on_wait": shown.waits,
        }
        async with AsyncClient(url, stream, source="/sluice/send", **options) as client:
            return await deliver(
                source.records, client, identify, batch=batch, in_flight=1 if one_by_one else 4,
                on_progress=shown.update, on_refusal=rejects.write,
            )  # fmt: skip

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        tally = shown.tally
        tally.stopped = "Stopped by you"
        return tally


def _gateway(url: str | None, settings: LakeSettings) -> tuple[str, Path | None]:
    """What was asked for, SLUICE_GATEWAY_URL, or the gateway of the stack that this checkout runs; and whom to trust for it."""
    stack = None if url or os.environ.get("SLUICE_GATEWAY_URL") else config.load(config.state_folder())
    if stack is None:
        return url or settings.gateway_url, settings.gateway_ca
    return stack.url("gateway"), stack.ca("gateway") or settings.gateway_ca


def _contract(folder: Path, stream: str) -> Stream | None:
    """The stream's contract, if this machine has it: a gateway far away may know more streams."""
    path = folder / f"{stream}{SUFFIX}"
    if not path.is_file():
        return None
    # Reading the standard's schema takes a while, and `--help` should not wait for it.
    from catalog.odcs import load_contract

    return load_contract(path)


def _identify(id_from: str | None, contract: Stream | None, stream: str) -> Identify:
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


class _Rejects:
    """The file of refused records: made with the first of them, and not there where none was refused."""

    def __init__(self, path: Path, source: str) -> None:
        if source != "-" and path.exists() and Path(source).exists() and path.samefile(source):
            raise SluiceError(f"--rejected {path} is the file to send: name another one")
        self.path = path
        self._ours = path.name.endswith(".rejected.ndjson")
        self.count = 0
        self._file: IO[bytes] | None = None

    def write(self, refusal: Refusal) -> None:
        try:
            if self._file is None:
                self._file = self.path.open("wb")
            self._file.write(refusal.line())
        except OSError as failure:
            raise SluiceError(
                f"{self.path} cannot be written: {failure.strerror}. Name another file by --rejected"
            ) from None
        self.count += 1

    def close(self, finished: bool) -> None:
        """Close; a file that an earlier run left would speak of records that are taken by now."""
        if self._file is not None:
            self._file.close()
        elif finished and self._ours:
            self.path.unlink(missing_ok=True)


@dataclass
class _Shown:
    """The progress display. Without one, it only remembers the counts and says on stderr what it waits for."""

    source: Source
    bar: Any = None
    task: Any = None
    tally: Tally = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.tally = Tally()

    def update(self, tally: Tally) -> None:
        self.tally = tally
        if self.bar is not None:
            counts = f"{tally.taken:,} taken" + (f", [red]{tally.refused:,} refused[/]" if tally.refused else "")
            done = self.source.done()
            self.bar.update(self.task, completed=done, counts=counts, rate=f"{tally.rate:,.0f}/s", wait="")

    def waits(self, reason: str, seconds: float) -> None:
        if self.bar is not None:
            self.bar.update(self.task, wait=f"[yellow]{reason}; next try in {seconds:.1f} s[/]")
        else:
            print(f"{reason}; next try in {seconds:.1f} s", file=sys.stderr)


@contextmanager
def _progress(source: Source, wanted: bool) -> Iterator[_Shown]:
    if not wanted or not sys.stderr.isatty():
        yield _Shown(source)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[wait]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(source.name, total=source.total, counts="", rate="", wait="")
        yield _Shown(source, bar, task)


def _report(source: Source, stream: str, tally: Tally, rejects: _Rejects, as_json: bool) -> None:
    if as_json:
        facts = asdict(tally)
        facts.pop("started")
        facts |= {
            "stream": stream, "format": source.format, "taken": tally.taken, "seconds": round(tally.seconds, 3),
            "per_second": round(tally.rate, 1), "unknown_headers": source.unknown,
            "rejected": str(rejects.path) if rejects.count else None,
        }  # fmt: skip
        print(json.dumps(facts))
        return
    from rich.console import Console
    from rich.table import Table

    out = Console()
    if source.unknown:
        out.print(
            f"No column of {stream} is called {', '.join(source.unknown)}: kept in bronze as text, not in silver.",
            highlight=False,
        )
    table = Table(box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    rows = ((tally.read, "read"), (tally.accepted, "accepted"), (tally.spooled, "spooled: kept by the gateway until Kafka is back"),
            (tally.refused, "refused"))  # fmt: skip
    for count, what in rows:
        if count or what in ("read", "accepted"):
            table.add_row(f"{count:,}", what)
    out.print(table)
    out.print(f"{tally.rate:,.0f} records/s to {stream}, {tally.seconds:.1f} s", highlight=False)
    if rejects.count:
        out.print(f"Refused records with reasons: {rejects.path}", highlight=False, soft_wrap=True)
