"""`sluice send`: the records of a file, through the gateway, into the lake."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer

from catalog.errors import SluiceError
from catalog.settings import lake_settings
from infra.sending import (
    IN_FLIGHT,
    REFUSED_SOME,
    FormatOption,
    Gateway,
    IdFromOption,
    PatienceOption,
    UrlOption,
    by_arrival,
    contract_of,
    gateway_address,
    identify_by,
    progress,
    send_records,
)
from ingest_gateway.send import Refusal, Tally
from ingest_gateway.sources import Source, open_source


def send(
    file: Annotated[str, typer.Argument(help="File to send, plain or gzipped; - for standard input.")],
    stream: Annotated[str, typer.Option("--stream", "-s", help="Stream to send to.")],
    form: FormatOption = None,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Records in a request.")] = 500,
    rejected: Annotated[
        Path | None,
        typer.Option(help="Where refused records go, with reasons (NDJSON). Default: FILE.rejected.ndjson."),
    ] = None,
    id_from: IdFromOption = None,
    url: UrlOption = None,
    patience: PatienceOption = 60.0,
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
    contract = contract_of(settings.contracts, stream)
    rejects = _Rejects(rejected or Path(f"{'stdin' if file == '-' else file}.rejected.ndjson"), file)
    source = open_source(file, contract, form)
    # A state must not overtake an older one of the same key, where only the order of arrival tells which is newer.
    in_flight = 1 if by_arrival(contract) else IN_FLIGHT
    gateway = Gateway(*gateway_address(url, settings), stream, "/sluice/send", patience, batch, in_flight)
    with closing(source), progress(source, not as_json) as shown:
        tally = send_records(source, gateway, identify_by(id_from, contract, stream), rejects.write, shown)
    rejects.close(finished=tally.stopped is None)
    _report(source, stream, tally, rejects, as_json)
    if tally.stopped is not None:
        raise SluiceError(
            f"{tally.stopped}. {tally.taken:,} of the {tally.read:,} records read so far were acknowledged; "
            "start the same command again, it adds none twice"
        )
    if tally.refused:
        raise typer.Exit(REFUSED_SOME)


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


def _report(source: Source, stream: str, tally: Tally, rejects: _Rejects, as_json: bool) -> None:
    if as_json:
        facts = asdict(tally)
        del facts["started"], facts["unreadable"]
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
