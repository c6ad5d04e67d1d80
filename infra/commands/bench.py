"""`sluice bench`: measure the stack that runs here, as a table and a JSON file."""

import asyncio
import json
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from catalog.errors import SluiceError
from catalog.odcs import load_contracts
from catalog.settings import lake_settings
from infra.bench.stream.show import flat
from infra.native import config, control
from infra.native.status import part_statuses

MEASURES = ("memory", "ingest", "gateway", "spool", "freshness", "catchup", "stream")
LONG = ("stream",)  # half an hour: measured only when it is named


def bench(
    measures: Annotated[
        list[str] | None, typer.Argument(help=f"Which of {', '.join(MEASURES)}; by default all but stream.")
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=20, help="Events a second of freshness (500) and of stream's steady load (1,000).")
    ] = None,
    seconds: Annotated[int, typer.Option(min=5, help="How long freshness is measured.")] = 120,
    events: Annotated[int, typer.Option(min=1000, help="Events that ingest and spool send.")] = 100_000,
    records: Annotated[
        int | None,
        typer.Option(
            min=10_000, help="Records of catchup (1,000,000), and of stream's catch-up and large table (2,000,000)."
        ),
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Which of steady, faults, catchup, growth stream measures, separated by commas.")
    ] = "steady,faults,catchup,growth",
    minutes: Annotated[float, typer.Option(min=0.1, help="How long stream's steady load goes on.")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="Workers of the servers that gateway compares.")] = 1,
    repetitions: Annotated[int, typer.Option(min=1, help="How often gateway repeats each of its runs.")] = 3,
    run_seconds: Annotated[float, typer.Option(min=0.2, help="How long each of gateway's runs takes.")] = 4.0,
    output: Annotated[Path | None, typer.Option(help="Where the JSON goes. Default: bench-DATE.json here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON instead of the table.")] = False,
) -> None:
    """Measure the running stack: `sluice up`, then `sluice bench`, on a machine that does nothing else.

    memory: resident memory of each part. ingest: events a second through the gateway in NDJSON batches. gateway: a gateway of
    its own on the stack's Kafka beside a bare Starlette echo, a plain gateway without checks and a bare Kafka producer: rates,
    times at half of the greatest rate, three times of it, and each aim with what was measured (3 min). spool: events a
    second into the gateway's spool, synced, and from there to Kafka. freshness: seconds from
    the HTTP answer to the row in a Trino query on silver. catchup: rows a second of the stream job beside a bare Spark append
    of the same records in the same run. stream: freshness, lag, memory and files under a steady load over three streams; seconds
    until SQL is fresh again after a kill of each part; a catch-up of two million records; the time of a batch while its table
    grows a hundredfold (30 min; not without its name). The benchmark's rows stay in the lake: use a stack that you can purge.

    Exit code: 0 measured, 1 a server is away or a measure failed, 2 wrong usage.
    """
    unknown = sorted(set(measures or ()) - set(MEASURES))
    if unknown:
        raise SluiceError(f"There is no measure {unknown[0]}; there are {', '.join(MEASURES)}")
    if not config.state_folder().is_dir():
        raise SluiceError("No stack runs here: start it with `sluice up`")
    console = Console(stderr=as_json)
    chosen = [name for name in MEASURES if (name in measures if measures else name not in LONG)]
    results: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine()}
    lake = lake_settings()
    for name in chosen:
        console.print(f"{name} …")
        if name == "memory":
            results[name] = _memory()
        elif name == "ingest":
            from infra.bench.ingest import ingest

            results[name] = asyncio.run(ingest(lake, load_contracts(lake.contracts), events))
        elif name == "gateway":
            results[name] = _gateway(console, workers, repetitions, run_seconds)
        elif name == "spool":
            from infra.bench.spool import spool

            with tempfile.TemporaryDirectory(prefix="bench-", dir=config.state_folder()) as folder:
                results[name] = spool(lake, Path(folder), events)
        elif name == "freshness":
            results[name] = _freshness(console, rate or 500, seconds)
        elif name == "stream":
            results[name] = _stream(console, tuple(parts.split(",")), rate or 1000, minutes, records or 2_000_000)
        else:
            from infra.bench.catchup import catchup

            with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
                results[name] = catchup(
                    lake, records or 1_000_000, Path(folder), lambda text: console.print(f"  {text}")
                )
    path = output or Path(f"bench-{datetime.now(UTC):%Y%m%dT%H%M%S}.json")
    path.write_text(json.dumps(results, indent=1) + "\n")
    if as_json:
        print(json.dumps(results))
    else:
        _show(console, results)
        console.print(f"written to {path}")


def _gateway(console: Console, workers: int, repetitions: int, seconds: float) -> dict[str, Any]:
    from infra.bench.gateway.aims import judged
    from infra.bench.gateway.measure import Plan, gateway

    plan = Plan(workers, repetitions, seconds)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=config.state_folder()) as folder:
        found = gateway(lake_settings(), Path(folder), plan, lambda text: console.print(f"  {text}"))
    return {**found, "aims": judged(found)}


def _freshness(console: Console, rate: int, seconds: int) -> dict[str, Any]:
    from infra.bench.freshness import BATCHES_PER_SECOND, freshness

    lake = lake_settings()
    streams = load_contracts(lake.contracts)
    total = seconds * BATCHES_PER_SECOND * 4
    columns = (TextColumn("  {task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("sending", total=total)
        return asyncio.run(freshness(lake, streams, rate, seconds, lambda: bars.advance(bar)))


def _stream(console: Console, parts: tuple[str, ...], rate: int, minutes: float, records: int) -> dict[str, Any]:
    from infra.bench.stream.measure import Plan, stream

    lake, state = lake_settings(), config.state_folder()
    stack = config.load(state)
    if stack is None:
        raise SluiceError(f"There is no stack in {state}: start one with `sluice up`")
    columns = (TextColumn("  {task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder,
        Progress(*columns, console=console, transient=True) as bars,
    ):
        bar = bars.add_task("", total=1.0)
        return stream(
            lake, load_contracts(lake.contracts), state, f"http://{stack.address('stream')}", Path(folder),
            Plan(parts, rate, minutes, records), lambda what, share: bars.update(bar, description=what, completed=share),
        )  # fmt: skip


def _memory() -> dict[str, Any]:
    state = config.state_folder()
    stack = config.load(state)
    if stack is None:
        raise SluiceError(f"There is no stack in {state}: start one with `sluice up`")
    parts = {part.name: part.rss or 0 for part in part_statuses(stack, control.view(state))}
    return {
        "total_mib": round(sum(parts.values()) / 2**20),
        "parts_mib": {n: round(rss / 2**20) for n, rss in parts.items()},
    }


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0]
    return {
        "cores": os.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / 2**30), "load_before": load,
        "system": platform.platform(), "uptime_s": round(time.time() - psutil.boot_time()),
    }  # fmt: skip


def _show(console: Console, results: dict[str, Any]) -> None:
    table = Table("measure", "figure", "value", box=None, pad_edge=False, header_style="bold")
    for name in MEASURES:
        for figure, value in flat(results.get(name, {}) if name not in ("gateway", "stream") else {}):
            table.add_row(name, figure, f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    if table.rows:
        console.print(table)
    if "gateway" in results:
        from infra.bench.gateway.show import show

        show(console, results["gateway"])
    if "stream" in results:
        from infra.bench.stream.show import show as show_stream

        show_stream(console, results["stream"])
