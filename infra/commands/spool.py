"""`sluice spool`: look at, save or send the events that wait on the gateway's disk."""

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from catalog.errors import SluiceError
from catalog.settings import lake_settings
from infra.native.status import wide_console
from ingest_gateway import logs
from ingest_gateway.settings import gateway_settings
from ingest_gateway.spool import offline
from ingest_gateway.spool.offline import Listed

EPILOG = """\
Examples:\n
  ./sluice spool list\n
  ./sluice spool export orders > orders.ndjson\n
  curl localhost:17001/v1/streams/orders/events -H 'content-type: application/cloudevents+ndjson' --data-binary @orders.ndjson\n
  ./sluice spool drain\n
"""
Folder = Annotated[
    Path | None,
    typer.Option(help="The spool's folder. Default: SLUICE_GATEWAY_SPOOL, else this stack's."),
]
spool = typer.Typer(
    name="spool",
    help="List, export or drain the events that wait on the gateway's disk until Kafka is back.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@spool.command("list")
def list_segments(
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of one object for each segment.")] = False,
) -> None:
    """Show each segment with its stream, events, bytes and age. Reads only, so it may be asked while a gateway runs.

    A segment that is SET ASIDE holds events that Kafka refuses for good, as a rule because they are too large for their topic: they
    hold up no others, and are tried again by `sluice spool drain` and by the next start of a gateway on the folder.
    LOST: bytes that cannot be read any more. A segment that is DRAINED is kept only because of them: Kafka has the rest.

    Example: ./sluice spool list --json
    """
    root = _folder(folder)
    found = list(offline.listed(root)) if root.exists() else []
    if as_json:
        print(json.dumps([_document(root, segment) for segment in found], indent=1))
    elif not found:
        print(f"{root}: no event waits")
    else:
        _show(root, found)


@spool.command("export")
def export(
    stream: Annotated[str, typer.Argument(help="Stream whose events are written.")],
    folder: Folder = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. Default: standard output.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --output: print the count as one JSON object.")] = False,
) -> None:  # fmt: skip
    """Write a stream's events as NDJSON, one CloudEvent a line, with the ids that they have. The spool stays as it is.

    A gateway takes them as application/cloudevents+ndjson; what Kafka gets twice, here and by the drain, counts once.

    Example: ./sluice spool export orders --output orders.ndjson
    """
    root = _folder(folder)
    lines = offline.exported(root, stream)
    count = 0
    if output is None:
        if as_json:
            raise SluiceError("--json tells the count of what --output FILE wrote; standard output holds the events")
        for line in lines:
            sys.stdout.buffer.write(line)
            count += 1
        sys.stdout.buffer.flush()
        if not count:
            print(f"{root}: no event of {stream} waits", file=sys.stderr)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for line in lines:
                file.write(line)
                count += 1
    except OSError as failure:
        raise SluiceError(f"{output} cannot be written: {failure.strerror}") from None
    print(json.dumps({"events": count, "file": str(output)}) if as_json else f"{count:,} events in {output}")


@spool.command("drain")
def drain(
    folder: Folder = None,
    patience: Annotated[
        float, typer.Option(min=1, help="Give up when nothing could be sent for so many seconds.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Send all that waits to Kafka (SLUICE_KAFKA_BOOTSTRAP, else this stack's) while no gateway runs on the folder.

    A gateway drains by itself; this is for a folder whose gateway will not come back. It may be interrupted and repeated.

    Exit code: 0 nothing is left, 1 something is (why is printed, by stream), or a gateway runs. Example: ./sluice spool drain
    """
    root = _folder(folder)
    total = sum(segment.events for segment in offline.listed(root) if not segment.drained)
    logs.silence()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("draining", total=total)
        run = offline.drain(
            root, lake_settings(), gateway_settings(), patience,
            lambda left: bars.update(bar, completed=max(0, total - left)),
        )  # fmt: skip
        left = asyncio.run(run)
    after = list(offline.listed(root))
    rest = sum(segment.events for segment in after if not segment.drained)
    lost = sum(segment.lost_bytes for segment in after)
    if as_json:
        print(json.dumps({"drained": total - rest, "left": rest, "lost_bytes": lost, "reasons": left}))
    else:
        print(f"{total - rest:,} events drained, {rest:,} left")
        if lost:
            print(f"{lost:,} bytes cannot be read; `sluice spool list` shows the files, which are kept")
    if left:
        raise SluiceError("; ".join(f"{stream}: {reason}" for stream, reason in left.items()))


def _folder(named: Path | None) -> Path:
    found = named or os.environ.get("SLUICE_GATEWAY_SPOOL")
    if not found:
        raise SluiceError("No spool is named: give --folder, or set SLUICE_GATEWAY_SPOOL to the gateway's")
    return Path(found)


def _document(root: Path, segment: Listed) -> dict[str, Any]:
    return {
        "file": str(segment.path.relative_to(root)),
        "stream": segment.stream,
        "events": segment.events,
        "bytes": segment.bytes,
        "oldest": None if segment.oldest is None else datetime.fromtimestamp(segment.oldest, UTC).isoformat(),
        "age_s": _age(segment),
        "lost_bytes": segment.lost_bytes,
        "torn_bytes": segment.torn_bytes,
        "drained": segment.drained,
        "aside": segment.aside,
        "pid": segment.pid,
    }


def _age(segment: Listed) -> float | None:
    return None if segment.oldest is None else round(max(0.0, time.time() - segment.oldest), 1)


def _state(segment: Listed) -> str:
    if segment.aside:
        return "set aside"
    return "drained" if segment.drained else f"in use by {segment.pid}" if segment.pid else "no process uses it"


def _show(root: Path, found: list[Listed]) -> None:
    table = Table("SEGMENT", "STREAM", box=None, pad_edge=False, header_style="bold")
    for name in ("EVENTS", "BYTES", "AGE (S)", "LOST"):
        table.add_column(name, justify="right")
    table.add_column("STATE")
    for segment in found:
        age = _age(segment)
        state = _state(segment)
        table.add_row(
            str(segment.path.relative_to(root)), segment.stream, f"{segment.events:,}", f"{segment.bytes:,}",
            "" if age is None else f"{age:,.0f}", f"{segment.lost_bytes:,}" if segment.lost_bytes else "", state,
        )  # fmt: skip
    wide_console().print(table)
    waiting = [segment for segment in found if not segment.drained]
    print(f"{sum(s.events for s in waiting):,} events wait, {sum(s.bytes for s in waiting):,} bytes in {root}")
