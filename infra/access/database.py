"""Roles in the catalog's database: who may look at the tables' pointers, and whose tables each may move on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import sql

from catalog.errors import SluiceError
from catalog.lake import database_refusal
from infra.access.accounts import AT_TABLES, OPERATOR, Account

# Table of the JDBC catalog → its column that names the namespace.
TABLES = {"iceberg_tables": "table_namespace", "iceberg_namespace_properties": "namespace"}
# These hold leases: a holder that is silent for too long is ended by the next one, whoever it runs as.
LEASEHOLDERS = (OPERATOR, "stream", "maintenance")


def make_roles(uri: str, passwords: Mapping[str, str]) -> None:
    """Make or renew the roles that have a password, and what each may do. `uri` is a superuser's. Raises SluiceError."""
    accounts = [account for account in AT_TABLES if account.name in passwords]
    with _administration(uri) as connection:
        for account in accounts:
            if account.name != OPERATOR:  # made with the database, which it owns
                _make(connection, account.name, passwords[account.name])
        _close_to_others(connection)
        for account in accounts:
            if account.name != OPERATOR:
                _grant(connection, account)
        for name in {account.name for account in accounts} & set(LEASEHOLDERS):
            connection.execute(sql.SQL("grant pg_read_all_stats, pg_signal_backend to {}").format(sql.Identifier(name)))


def renew_owner(uri: str, passwords: Mapping[str, str]) -> None:
    """Give the database's owner, if it has a password here, that one: it may be another than the database was made with.

    Before anything is done as the owner. `uri` is a superuser's. Raises SluiceError.
    """
    if OPERATOR not in passwords:
        return
    with _administration(uri) as connection:
        if _known(connection, OPERATOR):
            role, password = sql.Identifier(OPERATOR), sql.Literal(passwords[OPERATOR])
            connection.execute(sql.SQL("alter role {} password {}").format(role, password))


@contextmanager
def _administration(uri: str) -> Iterator[psycopg.Connection]:
    """One transaction, for one at a time: two that changed roles at once would be in each other's way."""
    try:
        with psycopg.connect(uri, connect_timeout=10) as connection:
            connection.execute("select pg_advisory_xact_lock(hashtext('sluice-accounts'))")
            yield connection
    except psycopg.Error as failure:
        raise SluiceError(f"{database_refusal(uri, failure)}: check SLUICE_ADMIN_CATALOG_URI") from None


def _known(connection: psycopg.Connection, name: str) -> bool:
    return connection.execute("select 1 from pg_roles where rolname = %s", (name,)).fetchone() is not None


def _make(connection: psycopg.Connection, name: str, password: str) -> None:
    connection.execute(
        sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole nobypassrls password {}").format(
            sql.SQL("alter" if _known(connection, name) else "create"), sql.Identifier(name), sql.Literal(password)
        )
    )


def _close_to_others(connection: psycopg.Connection) -> None:
    """Only named roles come in, and rows of a table's pointer are changed by those alone whose namespaces they are in."""
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))
    for table in TABLES:
        connection.execute(sql.SQL("alter table {} enable row level security").format(sql.Identifier(table)))
        connection.execute(sql.SQL("drop policy if exists seen on {}").format(sql.Identifier(table)))
        connection.execute(sql.SQL("create policy seen on {} for select using (true)").format(sql.Identifier(table)))


def _grant(connection: psycopg.Connection, account: Account) -> None:
    role, database = sql.Identifier(account.name), sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("grant connect on database {} to {}").format(database, role))
    for table, column in TABLES.items():
        named = {"table": sql.Identifier(table), "role": role, "policy": sql.Identifier(f"of_{account.name}")}
        connection.execute(sql.SQL("revoke all on {table} from {role}").format(**named))
        connection.execute(sql.SQL("grant select on {table} to {role}").format(**named))
        connection.execute(sql.SQL("drop policy if exists {policy} on {table}").format(**named))
        if account.writes:
            own = sql.SQL("{} in ({})").format(
                sql.Identifier(column), sql.SQL(", ").join(map(sql.Literal, account.writes))
            )
            connection.execute(sql.SQL("grant insert, update, delete on {table} to {role}").format(**named))
            connection.execute(
                sql.SQL("create policy {policy} on {table} for all to {role} using ({own}) with check ({own})").format(
                    **named, own=own
                )
            )
