"""How values of a query's result are written: JSON, plain text, a table on a terminal."""

import base64
import math
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import IO, Any

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from trino.types import NamedRowTuple

from catalog.query import ResultColumn

WIDEST_CELL = 80
NARROWEST_COLUMN = 6
NUMERIC = ("tinyint", "smallint", "integer", "bigint", "real", "double", "decimal")


def write_json(to: IO[str], columns: Sequence[ResultColumn], rows: Iterable[tuple[Any, ...]]) -> None:
    """A JSON list with one object a line, written as the rows come."""
    names = [column.name for column in columns]
    to.write("[")
    for number, row in enumerate(rows):
        record = {name: plain(value) for name, value in zip(names, row, strict=True)}
        to.write(("," if number else "") + "\n " + orjson.dumps(record, default=_fragment).decode())
    to.write("\n]\n")


def plain(value: Any) -> Any:
    """The value in JSON's types; a decimal stays, since it is written as a number with all its digits."""
    match value:
        case float() if math.isnan(value) or math.isinf(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        case None | bool() | int() | float() | str() | Decimal():
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case datetime() | date() | time():
            return value.isoformat()
        case dict():
            return {text(key): plain(item) for key, item in value.items()}
        case NamedRowTuple():
            return _row(value)
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def text(value: Any) -> str:
    """The value as one piece of text, empty for null."""
    found = plain(value)
    match found:
        case None:
            return ""
        case bool():
            return "true" if found else "false"
        case str():
            return found
        case dict() | list():
            return orjson.dumps(found, default=_fragment).decode()
        case _:
            return format(found, "f") if isinstance(found, Decimal) else str(found)


def show_table(
    columns: Sequence[ResultColumn], rows: Sequence[tuple[Any, ...]], *, more: bool, update_type: str | None = None
) -> None:
    """A table, or one block a row where the terminal is too narrow. Nothing is cut when the output is no terminal."""
    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, highlight=False)
    if not columns:
        console.print(f"{update_type or 'Done'}.")
        return
    cut = WIDEST_CELL if sys.stdout.isatty() else None
    cells = [[_cell(value, cut) for value in row] for row in rows]
    if sys.stdout.isatty() and _narrowest(columns, cells) > console.width:
        _show_blocks(console, columns, cells)
    else:
        _show_grid(console, columns, cells)
    console.print(_footer(len(rows), more), style="dim", highlight=False)


def _show_grid(console: Console, columns: Sequence[ResultColumn], cells: Sequence[Sequence[Text]]) -> None:
    table = Table(box=None if not console.is_terminal else box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column.type.startswith(NUMERIC)
        table.add_column(Text(column.name), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def _show_blocks(console: Console, columns: Sequence[ResultColumn], cells: Sequence[Sequence[Text]]) -> None:
    width = max(len(column.name) for column in columns)
    for number, row in enumerate(cells, 1):
        console.print(Text(f"row {number}", style="bold"))
        for column, cell in zip(columns, row, strict=True):
            console.print(Text(f"  {column.name:<{width}}  ", style="cyan") + cell, soft_wrap=True)


def _cell(value: Any, cut: int | None) -> Text:
    if value is None:
        return Text("null", style="dim")
    shown = text(value) if not isinstance(value, bytes) else readable(value)
    shown = shown.replace("\r", "␍").replace("\n", "␊").replace("\t", " ")
    return Text(shown if cut is None or len(shown) <= cut else shown[: cut - 1] + "…")


def readable(value: bytes) -> str:
    """Bytes for a person: as text where they are text, else in hexadecimal."""
    try:
        found = value.decode("utf-8")
    except UnicodeDecodeError:
        return "0x" + value.hex()
    return found if found.isprintable() else "0x" + value.hex()


def _footer(shown: int, more: bool) -> str:
    rows = f"{shown:,} row" + ("" if shown == 1 else "s")
    return f"first {rows}; there are more: --limit 0 shows all, --csv and --json write all" if more else rows


def _narrowest(columns: Sequence[ResultColumn], cells: Sequence[Sequence[Text]]) -> int:
    """Columns that a grid needs at least: numbers in full, texts folded to no less than half."""
    widths = []
    for place, column in enumerate(columns):
        widest = max((row[place].cell_len for row in cells), default=0)
        folds = not column.type.startswith(NUMERIC)
        widths.append(max(len(column.name), NARROWEST_COLUMN, widest // 2 if folds else widest))
    return sum(widths) + 3 * len(widths)


def _row(value: NamedRowTuple) -> Any:
    names = value.__annotations__["names"]
    if all(names) and len(set(names)) == len(names):
        return {name: plain(item) for name, item in zip(names, value, strict=True)}
    return [plain(item) for item in value]


def _fragment(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(type(value).__name__)
