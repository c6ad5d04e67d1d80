"""`sluice backfill`: history from files and the object store, through the gateway, into a stream."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from catalog.backfill_log import DONE, STOPPED, BackfillLog
from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.lake import open_catalog
from catalog.settings import LakeSettings, lake_settings
from infra.sending import (
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
    paced,
    progress,
    send_records,
)
from ingest_gateway.history import HistoryFile, Rejects, find
from ingest_gateway.send import Refusal, Tally
from ingest_gateway.sources import FORMATS, known_format, open_place

EARLIER = "done earlier"
TO_SEND = "to send"
COLOURS = {DONE: "green", EARLIER: "dim", STOPPED: "red"}


@dataclass
class Outcome:
    """What became of one file."""

    file: str
    bytes: int
    outcome: str
    read: int = 0
    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    rejected: str | None = None
    detail: str | None = None

    @property
    def facts(self) -> dict[str, object]:
        """For ops.backfills."""
        return {name: value for name, value in asdict(self).items() if name not in ("file", "bytes")}


def backfill(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Files, folders, or s3://BUCKET/PREFIX in the lake's store."),
    ],
    stream: Annotated[str, typer.Option("--stream", "-s", help="Stream to load.")],
    rate: Annotated[
        int,
        typer.Option(min=0, help="Records a second, so that live events stay fresh; 0: as many as the gateway takes."),
    ] = 5_000,
    form: FormatOption = None,
    id_from: IdFromOption = None,
    rejected: Annotated[
        str | None,
        typer.Option(
            help="Folder, or s3://BUCKET/PREFIX, for refused records with reasons. Default: beside each file."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send files that are done, too.")] = False,
    beyond_horizon: Annotated[
        bool,
        typer.Option(
            "--beyond-horizon", help="Also files begun longer ago than the stream remembers: rows may double."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    url: UrlOption = None,
    patience: PatienceOption = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome of each file as one JSON object.")] = False,
) -> None:
    """Load history: all files of the sources, in the order of their names, at a rate that leaves room for live events.

    History takes the way of all events, so it is checked, judged and proven like them. ops.backfills remembers the files that are
    done: the same command goes on where it was cut short, and later sends only what is new. A file that was cut short is sent from
    its beginning; its records have ids from their content (or --id-from), and add nothing twice. A record that stands in two
    files is one event.

    Exit code: 0 all records taken, 3 some refused (they are in the rejected files), 1 not finished, 2 wrong usage. The API key is
    read from SLUICE_API_KEY.

    Examples: `sluice backfill exports/2025 -s orders`, `sluice backfill s3://lake/history/orders -s orders --rate 20000`.
    """
    settings = lake_settings()
    known_format(form)  # what is wrong for all files is told before anything is sent
    contract = _contract(settings, stream)
    identify_by(id_from, contract, stream)
    files, others = find(sources, settings)
    if not files:
        raise SluiceError(f"{', '.join(sources)}: there is no file of {', '.join(FORMATS)}")
    log = BackfillLog(open_catalog(settings), stream)
    earlier = [] if again else [file for file in files if log.is_done(file.key)]
    chosen = [file for file in files if again or not log.is_done(file.key)]
    if contract.kind == "event" and not beyond_horizon:
        _refuse_forgotten(contract, [(file, log.begun_at(file.key)) for file in chosen])
    outcomes = [Outcome(file.address, file.size, EARLIER) for file in earlier]
    gateway = Gateway(*gateway_address(url, settings), stream, "/sluice/backfill", patience, _batch(rate))
    for number, file in enumerate(chosen, 1):
        if dry_run:
            outcomes.append(Outcome(file.address, file.size, TO_SEND))
            continue
        log.begin(file.key)
        rejects = Rejects(file, rejected, settings)
        title = f"{number}/{len(chosen)} {escape(file.below)}"
        outcome, others_too = _load(file, contract, form, id_from, rate, gateway, rejects, None if as_json else title)
        log.end(file.key, outcome.facts)
        outcomes.append(outcome)
        if not others_too:
            break
    log.close()
    _report(stream, sorted(outcomes, key=lambda one: one.file), others, as_json)
    _finish(outcomes, len(files))


def _contract(settings: LakeSettings, stream: str) -> Stream:
    contract = contract_of(settings.contracts, stream)
    if contract is None:
        raise SluiceError(f"There is no contract of {stream} in {settings.contracts}: see SLUICE_CONTRACTS")
    if by_arrival(contract):
        raise SluiceError(
            f"{stream} keeps the state of a key that arrived last, so history would replace newer states: name the column that "
            "tells which is newer in its contract (eventTime)"
        )
    return contract


def _batch(rate: int) -> int:
    """Records in a request: at a low rate a request should not wait seconds for its last record."""
    return min(500, max(1, rate // 4)) if rate else 500


def _load(
    file: HistoryFile, contract: Stream, form: str | None, id_from: str | None, rate: int, gateway: Gateway, rejects: Rejects,
    title: str | None,
) -> tuple[Outcome, bool]:  # fmt: skip
    """Send one file. False beside the outcome where no other file should be tried: not the file was the reason."""
    tally = Tally()
    failure: str | None = None

    def refused(refusal: Refusal) -> None:
        rejects.write(refusal.line())

    try:
        source = open_place(file.place, contract, form)
        with closing(source), progress(source, title is not None, title) as shown:
            source.records = paced(source.records, rate)
            tally = send_records(source, gateway, identify_by(id_from, contract, contract.name), refused, shown)
    except SluiceError as told:
        failure, tally.unreadable = str(told), True
    except OSError as told:
        failure, tally.unreadable = f"{file.address} cannot be read: {told}", True
    failure = failure or tally.stopped
    where = rejects.close(finished=failure is None)
    facts = (tally.read, tally.taken, tally.refused, round(tally.seconds, 3), where, failure)
    outcome = Outcome(file.address, file.size, STOPPED if failure else DONE, *facts)
    return outcome, failure is None or tally.unreadable


def _refuse_forgotten(contract: Stream, begun: list[tuple[HistoryFile, datetime | None]]) -> None:
    """What was sent longer ago than the stream remembers ids would become second rows."""
    since = datetime.now(UTC) - timedelta(days=contract.horizon_days)
    for file, at in begun:
        if at is not None and at < since:
            raise SluiceError(
                f"{file.address} was begun on {at:%Y-%m-%d}, and {contract.name} remembers ids for {contract.horizon_days} days: "
                "records of it that were taken then would become second rows. Send a file without them, or all of it by "
                "--beyond-horizon"
            )


def _report(stream: str, outcomes: list[Outcome], others: list[str], as_json: bool) -> None:
    if as_json:
        files = [asdict(one) for one in outcomes]
        totals = {name: sum(file[name] for file in files) for name in ("read", "taken", "refused")}
        print(json.dumps({"stream": stream, **totals, "files": files, "passed_over": others}))
        return
    out = Console()
    table = Table("file", box=None, pad_edge=False, header_style="bold")
    for name in ("size", "read", "taken", "refused"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for one in outcomes:
        numbers = [f"{n:,}" for n in (one.read, one.taken, one.refused)] if one.outcome in (DONE, STOPPED) else [""] * 3
        verdict = f"[{colour}]{one.outcome}[/]" if (colour := COLOURS.get(one.outcome)) else one.outcome
        table.add_row(escape(one.file), decimal(one.bytes), *numbers, verdict)
    out.print(table)
    for line in _told(outcomes, others):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _told(outcomes: list[Outcome], others: list[str]) -> Iterator[str]:
    for one in outcomes:
        if one.rejected:
            yield f"Refused records with reasons: {one.rejected}"
    if others:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        yield f"Passed over, since their names say no format: {', '.join(others[:3])}{more}"


def _finish(outcomes: list[Outcome], files: int) -> None:
    """End with the exit code that the outcomes deserve."""
    stopped = [one for one in outcomes if one.outcome == STOPPED]
    if stopped:
        left = files - sum(one.outcome in (DONE, EARLIER) for one in outcomes)
        reasons = "; ".join(f"{one.file}: {one.detail}" for one in stopped[:3])
        raise SluiceError(
            f"{reasons}. {left:,} of {files:,} files are not done; start the same command again, it adds none twice"
        )
    if any(one.refused for one in outcomes):
        raise typer.Exit(REFUSED_SOME)
