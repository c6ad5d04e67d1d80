"""`sluice sql`: what values look like outside, and what is refused before Trino is asked."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import UUID

import pytest
import trino.exceptions
import typer
from trino.types import NamedRowTuple
from typer.testing import CliRunner

from catalog import query
from catalog.query import ResultColumn, identifier, literal, statement
from catalog.settings import LakeSettings
from infra.commands.sql import sql
from infra.commands.sql_output import plain, readable, text, write_json

app = typer.Typer()
app.command()(sql)
ROW = NamedRowTuple([1, "x"], ["n", "s"], ["integer", "varchar"])


def test_json_keeps_every_digit_and_is_a_list_of_objects() -> None:
    to = io.StringIO()
    columns = [ResultColumn("d", "decimal(38,2)"), ResultColumn("big", "bigint")]
    write_json(to, columns, [(Decimal("12345678901234567890.10"), 2**63 - 1), (None, 0)])
    assert '"d":12345678901234567890.10,"big":9223372036854775807' in to.getvalue()
    assert [set(row) for row in json.loads(to.getvalue())] == [{"d", "big"}, {"d", "big"}]


def test_no_rows_are_an_empty_list() -> None:
    to = io.StringIO()
    write_json(to, [], [])
    assert json.loads(to.getvalue()) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2020-01-01T00:00:00Z"),
        (datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01T00:00:00Z"),
        (datetime(2020, 1, 1), "2020-01-01T00:00:00"),
        (date(2020, 2, 29), "2020-02-29"),
        (b"\x00\xff", "AP8="),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (True, "true"),
        (None, ""),
        (Decimal("1E+3"), "1000"),
        ({"a": Decimal("1.50")}, '{"a":1.50}'),
        (ROW, '{"n":1,"s":"x"}'),
        ([1, None], "[1,null]"),
    ],
)
def test_values_as_text(value: object, shown: str) -> None:
    assert text(value) == shown


def test_booleans_stay_booleans_in_json() -> None:
    assert plain(True) is True


def test_bytes_on_a_terminal() -> None:
    assert readable("é".encode()) == "é"
    assert readable(b"\x1b[31m") == "0x1b5b33316d"


def test_names_and_texts_are_quoted() -> None:
    assert identifier('a"b', "c") == '"a""b"."c"'
    assert literal("it's") == "'it''s'"
    assert statement(" select 1 ; \n") == "select 1"


@pytest.mark.parametrize("arguments", [[], [""], ["select 1", "--json", "--csv"], ["select 1", "-f", "x.sql"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-f", str(tmp_path / "no.sql")])
    assert "no.sql cannot be read" in str(result.exception)


def test_a_connection_that_ended_between_trino_and_its_database_is_no_fault_of_the_query() -> None:
    lake = LakeSettings.model_construct(trino_url="http://trino:8080")
    told = {"message": f"{query.CATALOG_AWAY}", "errorName": "GENERIC_INTERNAL_ERROR"}
    with (
        pytest.raises(query.TrinoAwayError, match="did not reach the catalog's database; try again"),
        query.translated(lake),
    ):
        raise trino.exceptions.TrinoQueryError(told, query_id="1")
    with pytest.raises(query.QueryFailedError, match="line 1"), query.translated(lake):
        raise trino.exceptions.TrinoQueryError({**told, "message": "line 1:8"}, query_id="1")


@contextmanager
def trino_that_answers(*errors: str | None) -> Iterator[LakeSettings]:
    """A server that ends each statement with the next of these errors, or with the row (1); the last is repeated."""
    left = list(errors)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            error = left.pop(0) if len(left) > 1 else left[0]
            page: dict[str, object] = {"id": "1", "infoUri": "", "stats": {"state": "FINISHED"}}
            if error:
                page["error"] = {"message": "no", "errorName": error, "errorType": "INTERNAL_ERROR", "errorCode": 1}
            else:
                column = {"name": "a", "type": "integer", "typeSignature": {"rawType": "integer", "arguments": []}}
                page |= {"columns": [column], "data": [[1]]}
            body = json.dumps(page).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield LakeSettings.model_construct(
                trino_url=f"http://127.0.0.1:{server.server_port}", trino_user="a", catalog_name="lake"
            )
        finally:
            server.shutdown()
            serving.join()


def test_a_trino_that_knows_no_node_yet_is_asked_again() -> None:
    with trino_that_answers("SERVER_STARTING_UP", "NO_NODES_AVAILABLE", None) as lake:
        assert query.rows(lake, "select 1 as a") == [{"a": 1}]


def test_a_trino_that_never_finds_a_node_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "STARTS_WITHIN", 0.1)
    with (
        trino_that_answers("NO_NODES_AVAILABLE") as lake,
        pytest.raises(query.TrinoAwayError, match="no node for the lake yet"),
    ):
        query.rows(lake, "select 1")


def test_what_trino_refuses_is_not_asked_again() -> None:
    with trino_that_answers("SYNTAX_ERROR", None) as lake, pytest.raises(query.QueryFailedError):
        query.rows(lake, "selct 1")
