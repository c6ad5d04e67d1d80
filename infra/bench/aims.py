"""What was to be reached, beside what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Figures = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """`least` or greatest value of a figure; `value` finds it in the measures, or None where nothing can be said."""

    what: str
    limit: float
    least: bool
    value: Callable[[Figures], float | None]


def judged(aims: Sequence[Aim], found: Figures) -> list[Figures]:
    """Each aim with its figure, and whether it was reached (None: nothing can be said)."""
    return [_judged(aim, aim.value(found)) for aim in aims]


def _judged(aim: Aim, value: float | None) -> Figures:
    reached = None if value is None else value >= aim.limit if aim.least else value <= aim.limit
    return {
        "aim": aim.what,
        "value": value,
        "at": "least" if aim.least else "most",
        "limit": aim.limit,
        "reached": reached,
    }


def aims_table(judged: Sequence[Figures]) -> Table:
    """For people."""
    table = Table("aim", box=None, pad_edge=False, header_style="bold")
    for name in ("measured", "limit"):
        table.add_column(name, justify="right")
    table.add_column("")
    for one in judged:
        value, sign = one["value"], "≥" if one["at"] == "least" else "≤"
        said = {True: "reached", False: "not reached", None: "nothing to measure"}[one["reached"]]
        table.add_row(one["aim"], "" if value is None else _number(value), f"{sign} {_number(one['limit'])}", said)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
