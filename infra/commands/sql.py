"""`sluice sql`: one query on Trino, as a table, JSON or CSV."""

import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from catalog import query
from catalog.errors import SluiceError
from catalog.settings import lake_settings
from infra.commands import sql_output

DEFAULT_LIMIT = 200


def sql(
    text: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="The statement, or - to read it from standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the statement from a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All rows as a JSON list of objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV with a header line.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Most rows to fetch, 0 for all. Default: {DEFAULT_LIMIT} in a table, else all."),
    ] = None,
    catalog: Annotated[str | None, typer.Option(help="Catalog of names without one. Default: the lake.")] = None,
    schema: Annotated[str | None, typer.Option(help="Schema of names without one, e.g. gold.")] = None,
) -> None:
    """Run one SQL query on Trino: `sluice sql 'select * from gold.strikes_by_species order by strikes desc'`.

    JSON: decimals are numbers with all their digits, times are ISO 8601 in UTC, binary values base64, NaN and
    infinities text. CSV: the same texts, nothing for null. Ctrl-C cancels the query.

    Exit code: 0 done, 1 the query failed or Trino is away, 2 wrong usage, 130 cancelled.
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    statement = _statement(text, file)
    settings = lake_settings()
    most = limit if limit is not None else (0 if as_json or as_csv else DEFAULT_LIMIT)
    with query.execute(settings, statement, catalog=catalog, schema=schema, source="sluice-sql") as (cursor, _started):
        first = cursor.fetchmany(1)  # a failure comes with the first rows: nothing must have been printed by then
        columns = query.columns_of(cursor)
        fetched = _rows(cursor, first)
        rows = islice(fetched, most) if most else fetched
        if as_json:
            sql_output.write_json(sys.stdout, columns, rows)
        elif as_csv:
            _write_csv(columns, rows)
        else:
            shown = list(rows)
            more = bool(most) and len(shown) == most and next(fetched, None) is not None
            sql_output.show_table(columns, shown, more=more, update_type=cursor.update_type)


def _statement(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise typer.BadParameter("give the query as an argument, by -f FILE, or - to read standard input")
    try:
        if file is not None:
            return _not_empty(file.read_text(encoding="utf-8"))
        return _not_empty(sys.stdin.read() if text == "-" else str(text))
    except OSError as failure:
        raise SluiceError(f"{file} cannot be read: {failure.strerror}") from None
    except UnicodeDecodeError:
        raise SluiceError(f"{file or 'standard input'} is not UTF-8 text") from None


def _not_empty(statement: str) -> str:
    if not query.statement(statement):
        raise typer.BadParameter("the query is empty")
    return statement


def _rows(cursor: Any, first: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    yield from (tuple(row) for row in first)
    while (row := cursor.fetchone()) is not None:
        yield tuple(row)


def _write_csv(columns: Sequence[query.ResultColumn], rows: Iterator[tuple[Any, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([sql_output.text(value) for value in row])
