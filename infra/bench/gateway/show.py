"""The gateway's figures as tables."""

from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench.aims import aims_table

NAMES = {
    "echo": "bare echo", "plain": "plain gateway", "tuned": "… with larger batches",
    "producer": "bare producer", "sluice": "Sluice",
}  # fmt: skip
Figures = dict[str, Any]


def show(console: Console, found: Figures) -> None:
    """Rates side by side, times, the overload, the spool; then the aims."""
    if found["load_before"] > found["cores"] / 2:
        load = f"its load was {found['load_before']:.1f} on {found['cores']} cores"
        console.print(
            f"The machine was busy before the first run: {load}. These figures are too low, and ratios uncertain."
        )
    console.print(_rates(found))
    half, over = found["half_rate"], found["overload"]
    console.print(f"\nsingles at {half['rate']:,.0f}/s (half of the greatest rate), from when each was due:")
    for name in ("plain", "sluice"):
        times = half[name]
        console.print(f"  {NAMES[name]}: p50 {times['p50_ms']:.1f} ms, p99 {times['p99_ms']:.1f} ms")
    console.print(
        f"\nsingles at {over['rate']:,.0f}/s (three times), {over['dropped']:,} not sent for want of a connection:"
    )
    for status, times in over["from_sending_ms"].items():
        count = over["statuses"][status]
        console.print(f"  {status}: {count:,}, p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms")
    memory = ", ".join(f"{when} {size:.0f}" for when, size in over["rss_mb"].items())
    console.print(f"  accepted {over['accepted_events_per_s']:,.0f}/s; memory of a worker, MB: {memory}")
    for shape in ("singles", "batches"):
        figures = found["spool"][shape]
        rates = (
            f"{figures['spooled_events_per_s']:,.0f} events/s to disk, {figures['drained_events_per_s']:,.0f} from it"
        )
        console.print(f"\nspool, {shape}: {rates}")
    console.print()
    console.print(aims_table(found["aims"]))


def _rates(found: Figures) -> Table:
    table = Table("greatest rate", "of", box=None, pad_edge=False, header_style="bold")
    for name in ("events/s, median", "best", "server µs/event", "Sluice is"):
        table.add_column(name, justify="right")
    for shape in ("singles", "batches"):
        for name, figures in found[shape].items():
            spent, ratio = figures["server_us_per_event"], found["ratios"][shape].get(name)
            table.add_row(
                shape, NAMES[name], f"{figures['events_per_s']:,.0f}", f"{figures['best_events_per_s']:,.0f}",
                "" if spent is None else f"{spent:,.1f}", "" if ratio is None else f"{ratio:.2f} ×",
            )  # fmt: skip
    return table
