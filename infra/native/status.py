"""What `status` shows: facts of every part, as objects and as a table."""

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from infra.native import parts, processes
from infra.native.config import Stack
from infra.native.control import View

COLOURS = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "yellow",
    "backoff": "red",
    "failed": "red",
    "unready": "red",
}


@dataclass(frozen=True)
class PartStatus:
    """One part as `status --json` gives it; `rss` is bytes of its process and all descendants."""

    name: str
    state: str
    pid: int | None
    port: int | None
    url: str | None
    rss: int | None
    restarts: int
    reason: str = ""


def part_statuses(stack: Stack, view: View) -> list[PartStatus]:
    """Every service of the stack, whether it runs or not; of the extras those that were started."""
    found = []
    for name in (*parts.SERVICES, *parts.EXTRA_SERVICES):
        status = view.parts[name]
        if name in parts.EXTRA_SERVICES and status.state == "stopped":
            continue
        pid = status.process.pid if status.process else None
        found.append(
            PartStatus(
                name=name,
                state=status.state,
                pid=pid,
                port=stack.ports.get(name),
                url=url(stack, name),
                rss=processes.resident(pid) if pid else None,
                restarts=status.restarts,
                reason=status.reason,
            )
        )
    return found


def url(stack: Stack, name: str) -> str | None:
    """Where a person or a client finds a part."""
    if name not in stack.ports:
        return None
    return {
        "kafka": stack.address("kafka"),
        "postgres": f"postgresql://{stack.address('postgres')}/lake",
        "trino": stack.trino_url,
    }.get(name, f"http://{stack.address(name)}")


def wide_console(stderr: bool = False) -> Console:
    """A console that never cuts the table: a narrow terminal wraps its lines."""
    console = Console(stderr=stderr, highlight=False)
    console.width = max(console.width, 100)
    return console


def show(console: Console, statuses: list[PartStatus]) -> None:
    """Print the table, and why a part is not ready."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("part", "state", "url"):
        table.add_column(heading, no_wrap=True)
    for heading in ("pid", "memory", "restarts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in statuses:
        colour = COLOURS.get(part.state, "")
        table.add_row(
            part.name,
            f"[{colour}]{part.state}[/]" if colour else part.state,
            part.url or "",
            str(part.pid or ""),
            f"{part.rss / (1 << 20):,.0f} MiB" if part.rss else "",
            str(part.restarts),
        )
    console.print(table)
    for part in statuses:
        if part.state not in {"ready", "stopped", "unsupervised"} and part.reason:
            console.print(f"{part.name}: {part.reason}", markup=False)


def as_json(statuses: list[PartStatus]) -> str:
    return json.dumps([asdict(status) for status in statuses], indent=1)
