"""Each part's credentials let it do its own work and nothing else; wrong ones end in a line that says so."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

import psutil
import psycopg
import pytest
from pyarrow.fs import S3FileSystem

from catalog.lake import file_system
from infra.access.accounts import ACCOUNTS, AT_TABLES, EVERYTHING, OPERATOR, Account
from infra.native import config
from tests.drivers import await_state, beside
from tests.stack import Stack

HELD = {
    "gateway": {"gateway"}, "maintenance": {"maintenance"}, "minio": {"s3"}, "stream": {"stream"}, "trino": {"trino"},
    "ui": {"explorer"}, "verify": {"verify"},
}  # fmt: skip
POINTERS = (
    "update iceberg_tables set previous_metadata_location = previous_metadata_location where table_namespace = %s"
)
each_account = pytest.mark.parametrize("account", AT_TABLES, ids=lambda account: account.name)


@pytest.fixture(scope="module")
def chosen(stack: Stack) -> config.Stack:
    found = config.load(stack.state)
    assert found
    return found


@pytest.fixture(scope="module")
def left_behind(stack: Stack) -> Iterator[set[str]]:
    """Objects that a test wrote; the owner removes them."""
    paths: set[str] = set()
    yield paths
    owner = file_system(stack.lake(OPERATOR))
    for path in paths:
        owner.delete_file(path)


def writes(files: S3FileSystem, path: str) -> bool:
    try:
        with files.open_output_stream(path) as file:
            file.write(b"x")
    except OSError as failure:
        if "ACCESS_DENIED" not in str(failure):
            raise
        return False
    return True


def test_a_running_part_holds_its_own_password_and_no_other(stack: Stack, chosen: config.Stack) -> None:
    passwords = {account.name: chosen.password(account.name) for account in ACCOUNTS} | dict(chosen.passwords)
    for part, status in stack.status().items():
        environment = set(psutil.Process(status["pid"]).environ().values())
        held = {name for name, password in passwords.items() if any(password in value for value in environment)}
        assert held == HELD.get(part, set()), part


@each_account
def test_an_account_writes_objects_of_its_own_namespaces_alone(
    stack: Stack, account: Account, left_behind: set[str]
) -> None:
    lake = stack.lake(account.name)
    files, owner = file_system(lake), file_system(stack.lake(OPERATOR))
    may = set()
    for namespace in EVERYTHING:
        path = f"{lake.warehouse.removeprefix('s3://')}/{namespace}/access/{uuid4().hex}"
        left_behind.add(path)
        if writes(files, path):
            may.add(namespace)
        else:
            assert writes(owner, path)
            with pytest.raises(OSError, match="ACCESS_DENIED"):
                files.delete_file(path)
        assert files.open_input_file(path).read() == b"x", "all read"
    assert may == set(account.writes)
    if account.name != OPERATOR:
        assert not writes(files, f"{lake.bucket}/outside/{uuid4().hex}")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.create_dir(f"other-{uuid4().hex[:8]}")


@each_account
def test_an_account_moves_the_pointers_of_its_own_tables_alone(stack: Stack, account: Account) -> None:
    new = (f"access_{uuid4().hex[:8]}",)
    with psycopg.connect(stack.lake(account.name).catalog_uri) as connection:
        seen = connection.execute("select distinct table_namespace from iceberg_tables").fetchall()
        assert {"bronze", "silver", "quarantine"} <= {row[0] for row in seen}
        for namespace in ("bronze", "silver", "quarantine"):
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction(force_rollback=True):
                moved = connection.execute(POINTERS, (namespace,)).rowcount
                assert bool(moved) == (namespace in account.writes), namespace
                continue
            assert not account.writes, namespace
        for namespace in EVERYTHING:
            insert = "insert into iceberg_tables (catalog_name, table_namespace, table_name) values ('lake', %s, %s)"
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(insert, (namespace, *new))
            except psycopg.errors.InsufficientPrivilege:
                assert namespace not in account.writes
            else:
                assert namespace in account.writes
        if account.name != OPERATOR:
            for statement in ("drop table iceberg_tables", "create table mine (a int)", "create role mine"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                    connection.execute(statement)


def test_without_credentials_nothing_opens(stack: Stack, chosen: config.Stack) -> None:
    lake = stack.lake(None)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(lake.catalog_uri)
    anonymous = S3FileSystem(
        anonymous=True, endpoint_override=chosen.address("minio"), scheme="http", region=lake.s3_region
    )
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        anonymous.get_file_info(lake.bucket)


def test_credentials_may_come_from_where_the_aws_libraries_look(stack: Stack, chosen: config.Stack) -> None:
    """As with a pod's role: Python's library and Java's find them without a setting of Sluice."""
    found = {"AWS_ACCESS_KEY_ID": OPERATOR, "AWS_SECRET_ACCESS_KEY": chosen.password(OPERATOR)}
    without_keys = {"SLUICE_S3_ACCESS_KEY": "", "SLUICE_S3_SECRET_KEY": "not used"}
    replace(stack, settings={**stack.settings, **without_keys, **found}).sluice("apply", "--no-gold")
    with beside(stack, "keyless", SLUICE_STREAM_LEASE="false", **without_keys, **found) as job:
        await_state(job, "running")
    wrong = {**found, "AWS_SECRET_ACCESS_KEY": "not-the-key"}
    refused = replace(stack, settings={**stack.settings, **without_keys, **wrong}).run("apply", "--no-gold")
    assert refused.returncode == 1
    assert "refuses bucket lake to the AWS credentials of the environment" in refused.stderr


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("SLUICE_S3_SECRET_KEY", "not-the-key", "refuses bucket lake to 'sluice'"),
        ("SLUICE_CATALOG_URI", "postgresql://sluice:wrong@{address}/lake", "refuses 'sluice': password authentication failed"),
        ("SLUICE_CATALOG_URI", "postgresql://reader:{reader}@{address}/lake", "refuses 'reader': permission denied"),
    ],
)  # fmt: skip
def test_wrong_credentials_end_in_one_line(
    stack: Stack, chosen: config.Stack, setting: str, value: str, told: str
) -> None:
    given = value.format(address=chosen.address("postgres"), reader=chosen.password("reader"))
    done = replace(stack, settings={**stack.settings, setting: given}).run("apply", "--no-gold")
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert chosen.password("reader") not in done.stderr


@pytest.mark.parametrize("command", ["verify", "check"])
@pytest.mark.parametrize(
    ("setting", "value"),
    [("SLUICE_S3_SECRET_KEY", "not-the-key"), ("SLUICE_CATALOG_URI", "postgresql://sluice:wrong@{address}/lake")],
)
def test_checks_that_are_not_let_in_say_who_refused(
    stack: Stack, chosen: config.Stack, command: str, setting: str, value: str
) -> None:
    given = value.format(address=chosen.address("postgres"))
    done = replace(stack, settings={**stack.settings, setting: given}).run(command)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error: it could not be checked: The " in done.stderr
    assert "refuses 'sluice'" in done.stderr
    assert "Traceback" not in done.stderr
