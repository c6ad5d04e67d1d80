"""The stream job's figures as tables."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench.aims import aims_table

# Told what is being done, and what share of the part is done.
Watcher = Callable[[str, float], None]
Figures = dict[str, Any]


def show(console: Console, found: Figures) -> None:
    """A table for each part, then the aims."""
    for part in ("steady", "catchup", "growth", "faults"):
        if part in found:
            table = Table(part, "", box=None, pad_edge=False, header_style="bold")
            for name, value in flat(found[part]):
                table.add_row(name, _told(value))
            console.print(table)
            console.print()
    busy = [f"{part} {load:.1f}" for part, load in _loads(found) if load > found["cores"] / 2]
    if busy:
        console.print(
            f"The machine was busy before a part began (load on {found['cores']} cores: {', '.join(busy)}): "
            "rates are too low and times too long."
        )
    console.print(aims_table(found["aims"]))


def flat(values: Figures, prefix: str = "") -> list[tuple[str, Any]]:
    """Each figure with the names that lead to it."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        found += flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found


def _loads(found: Figures) -> list[tuple[str, float]]:
    parts = {part: of for part, of in found.items() if isinstance(of, dict)}
    return [(part, value) for part, of in parts.items() for name, value in flat(of) if name.endswith("load_before")]


def _told(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
