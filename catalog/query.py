"""Ask Trino. One place that connects, binds values, limits what is fetched and turns failures into what a person can act on."""

import ipaddress
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import trino
from trino.dbapi import Connection, Cursor

from catalog.errors import SluiceError
from catalog.settings import LakeSettings

# A Trino that has just started answers queries, and for some seconds knows of no node that has the lake: it finds its own on its
# next look at who has announced itself. No row has left a statement that fails so, and nothing that it wrote is kept.
STARTING = {"SERVER_STARTING_UP", "NO_NODES_AVAILABLE"}
STARTS_WITHIN = 20.0  # seconds
# What Trino says of a connection to its catalog's database that ended meanwhile, with the first query that meets it.
CATALOG_AWAY = "Cannot check and eventually update SQL schema"


class TrinoAwayError(SluiceError):
    """Trino does not answer, or takes no queries yet."""


class QueryFailedError(SluiceError):
    """Trino refused or could not finish the statement. `name` is Trino's error name, e.g. TABLE_NOT_FOUND."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result: its name and its Trino type as text, e.g. `decimal(10,2)`."""

    name: str
    type: str


@dataclass(frozen=True)
class Result:
    """What a statement gave back. `truncated` says that the limit was reached and more rows exist."""

    columns: tuple[ResultColumn, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool
    seconds: float
    update_type: str | None = None

    def records(self) -> list[dict[str, Any]]:
        """Each row as a dictionary by column name."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def connect(
    settings: LakeSettings,
    *,
    catalog: str | None = None,
    schema: str | None = None,
    source: str = "sluice",
    max_attempts: int = 3,
) -> Connection:
    """A DB-API connection with the lake as its catalog. Nothing is sent before the first statement."""
    address = urlsplit(settings.trino_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise SluiceError(f"SLUICE_TRINO_URL={settings.trino_url!r}: expected http://HOST:PORT or https://HOST:PORT")
    if settings.trino_password and address.scheme != "https":
        raise SluiceError(
            f"SLUICE_TRINO_PASSWORD is sent over https only: SLUICE_TRINO_URL={settings.trino_url!r} would show it to the network"
        )
    user = address.username or settings.trino_user
    session = requests.Session()
    # A proxy of the environment must not be asked for an address that only this machine has; and REQUESTS_CA_BUNDLE, where it is
    # set, would come before the certificate that is named for Trino.
    session.trust_env = not _is_loopback(address.hostname) and settings.trino_ca is None
    session.verify = str(settings.trino_ca) if settings.trino_ca else True
    return trino.dbapi.connect(
        host=address.hostname,
        port=address.port or (443 if address.scheme == "https" else 80),
        http_scheme=address.scheme,
        user=user,
        auth=trino.auth.BasicAuthentication(user, settings.trino_password) if settings.trino_password else None,
        catalog=catalog or settings.catalog_name,
        schema=schema,
        source=source,
        timezone="UTC",
        http_session=session,
        max_attempts=max_attempts,
        legacy_prepared_statements=False,
    )


def rows(settings: LakeSettings, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """All rows as dictionaries. `?` in the statement is bound to `params`. Raises TrinoAwayError, QueryFailedError."""
    return run(settings, sql, params).records()


def run(
    settings: LakeSettings,
    sql: str,
    params: Sequence[Any] = (),
    *,
    limit: int | None = None,
    catalog: str | None = None,
    schema: str | None = None,
    source: str = "sluice",
) -> Result:
    """Run one statement and fetch at most `limit` rows; what is left is cancelled at the server."""
    with execute(settings, sql, params, catalog=catalog, schema=schema, source=source) as (cursor, started):
        wanted = list(_fetch(cursor, None if limit is None else limit + 1))
        truncated = limit is not None and len(wanted) > limit
        return Result(
            columns=columns_of(cursor),
            rows=wanted[:limit],
            truncated=truncated,
            seconds=time.monotonic() - started,
            update_type=cursor.update_type,
        )


@contextmanager
def execute(
    settings: LakeSettings,
    sql: str,
    params: Sequence[Any] = (),
    *,
    catalog: str | None = None,
    schema: str | None = None,
    source: str = "sluice",
) -> Iterator[tuple[Cursor, float]]:
    """(cursor, monotonic start) of one running statement. Leaving early, by error or Ctrl-C, cancels it at the server.

    A Trino that is still starting is asked again for `STARTS_WITHIN` seconds.
    """
    connection = connect(settings, catalog=catalog, schema=schema, source=source)
    cursor = connection.cursor()
    started = time.monotonic()
    try:
        with translated(settings):
            _begin(cursor, statement(sql), list(params) or None)
            yield cursor, started
    finally:
        _cancel(cursor)
        connection.close()


def _begin(cursor: Cursor, sql: str, params: list[Any] | None) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            cursor.execute(sql, params)
        except trino.exceptions.TrinoQueryError as failure:
            if failure.error_name not in STARTING or time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


def statement(sql: str) -> str:
    """The text without a closing semicolon, which Trino's protocol does not take."""
    return sql.strip().removesuffix(";").rstrip()


def columns_of(cursor: Cursor) -> tuple[ResultColumn, ...]:
    """Names and types of a cursor's columns; empty for a statement without a result. A name that comes again gets a number."""
    seen: dict[str, int] = {}
    columns = []
    for column in cursor.description or ():
        seen[column.name] = seen.get(column.name, 0) + 1
        name = column.name if seen[column.name] == 1 else f"{column.name}_{seen[column.name]}"
        columns.append(ResultColumn(name, column.type_code))
    return tuple(columns)


@contextmanager
def translated(settings: LakeSettings) -> Iterator[None]:
    """Inside, failures of the Trino client become TrinoAwayError or QueryFailedError with one line for a person."""
    try:
        yield
    except trino.exceptions.TrinoQueryError as failure:
        if failure.error_name in STARTING:
            raise TrinoAwayError(
                f"Trino at {settings.trino_url} is still starting: it has no node for the lake yet. Try again in some seconds."
            ) from None
        if CATALOG_AWAY in failure.message:
            raise TrinoAwayError(
                f"Trino at {settings.trino_url} did not reach the catalog's database; try again. "
                "If that stays so, look at PostgreSQL."
            ) from None
        raise QueryFailedError(one_line(failure.message), failure.error_name or "") from None
    except (
        trino.exceptions.TrinoConnectionError,
        trino.exceptions.HttpError,
        trino.exceptions.OperationalError,
        requests.RequestException,
    ) as failure:
        if refused := _refusal(settings, str(failure)):
            raise QueryFailedError(refused, "ACCESS_DENIED") from None
        raise TrinoAwayError(
            f"Trino does not answer at {settings.trino_url} ({_reason(failure)}). Is the stack up? See `sluice status`, "
            "start it with `sluice up`, or set SLUICE_TRINO_URL."
        ) from None


def identifier(*parts: str) -> str:
    """A quoted name: identifier("silver", "orders") is `"silver"."orders"`. Any text is safe in it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(text: str) -> str:
    """A quoted string literal, for the places where Trino takes no parameter."""
    return "'" + text.replace("'", "''") + "'"


def one_line(message: str) -> str:
    """Trino's messages may span lines; a terminal and a log want one."""
    return " ".join(message.split())


def _fetch(cursor: Cursor, limit: int | None) -> Iterator[tuple[Any, ...]]:
    taken = 0
    while limit is None or taken < limit:
        row = cursor.fetchone()
        if row is None:
            return
        taken += 1
        yield tuple(row)


def _cancel(cursor: Cursor) -> None:
    try:
        cursor.cancel()
    except (trino.exceptions.Error, trino.exceptions.HttpError, requests.RequestException):
        return  # the server is gone or has finished: there is nothing left to cancel


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(settings: LakeSettings, text: str) -> str:
    """What is wrong with the credentials or with the certificate, if that is it."""
    if "error 401" in text:
        return (
            f"Trino at {settings.trino_url} refuses {settings.trino_user!r}: "
            + ("check" if settings.trino_password else "it asks for a password: set")
            + " SLUICE_TRINO_USER and SLUICE_TRINO_PASSWORD (`sluice users` makes them)"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text or "CertificateError" in text or "SSLCertVerificationError" in text:
        return (
            f"The certificate of Trino at {settings.trino_url} is not one that is trusted here: name its own, or that "
            "of who signed it, by SLUICE_TRINO_CA"
        )
    return ""


def _reason(failure: Exception) -> str:
    text = str(failure)
    for phrase in ("Connection refused", "Name or service not known", "timed out", "No route to host"):
        if phrase in text:
            return phrase.lower()
    return one_line(text)[:160]
