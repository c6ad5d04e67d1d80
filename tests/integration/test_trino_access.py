"""A Trino that asks who somebody is: what readers, engineers and the parts may do, tried by each of them."""

import json
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from catalog import query
from catalog.settings import LakeSettings, read_settings
from infra.access.trino_rules import MASK
from infra.access.trino_users import ROLES
from infra.demo.generate import users
from infra.native import config
from infra.native.config import trino_password
from tests.stack import Stack, eventually, running_stack

PARTS = ("postgres", "minio", "kafka", "trino", "gateway", "stream", "gold")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack(*PARTS, settings={"SLUICE_TRINO_AUTHENTICATION": "password"}) as running:
        yield running


@pytest.fixture(scope="module")
def operator(stack: Stack) -> LakeSettings:
    """Trino as the owner of the stack asks it, with a user in silver."""
    env = stack.env()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        lake = read_settings(LakeSettings)
    answer = httpx.post(f"{env['SLUICE_GATEWAY_URL']}/v1/streams/users/events", json=next(iter(users(1))), timeout=60)
    assert answer.status_code == 202, answer.text
    eventually(lambda: query.rows(lake, "select 1 from silver.users"), 180, "the user in silver")
    return lake


def let_in(stack: Stack, operator: LakeSettings, name: str, role: str) -> LakeSettings:
    """Trino as somebody asks it who was let in while it runs."""
    told = json.loads(stack.sluice("users", "add", name, "--role", role, "--json"))
    lake = operator.model_copy(update={"trino_user": name, "trino_password": told["password"]})
    eventually(lambda: may(lake, "select 1 from silver.users limit 1"), 30, f"{name} is let in")
    return lake


def may(lake: LakeSettings, sql: str) -> bool:
    """Whether Trino lets this user do it; a failure of another kind is raised."""
    try:
        query.rows(lake, sql)
    except query.QueryFailedError as failure:
        if failure.name in ("PERMISSION_DENIED", "ACCESS_DENIED"):
            return False
        raise
    return True


# What changes a table without a right that Trino's rules know of.
PROCEDURES = (
    "rollback_to_snapshot(1)",
    "optimize",
    "optimize_manifests",
    "expire_snapshots(retention_threshold => '30d')",
    "remove_orphan_files(retention_threshold => '30d')",
    "drop_extended_stats",
)


def refuses(lake: LakeSettings, sql: str) -> str:
    """Why Trino does not do it. Fails if it does."""
    with pytest.raises(query.QueryFailedError) as refused:
        query.rows(lake, sql)
    return str(refused.value)


@pytest.mark.parametrize("name", ["reader", "engineer", "explorer", "gold"])
def test_nobody_but_the_operator_runs_a_tables_procedures(stack: Stack, operator: LakeSettings, name: str) -> None:
    if name in ROLES:
        lake = let_in(stack, operator, f"{name}-of-tables", name)
    else:
        chosen = config.load(stack.state)
        assert chosen
        password = trino_password(chosen, name)
        lake = operator.model_copy(update={"trino_user": name, "trino_password": password})
    assert may(lake, "select count(*) from silver.orders")
    for procedure in PROCEDURES:
        assert "with row filter" in refuses(lake, f"alter table silver.orders execute {procedure}"), procedure
        if name == "engineer":
            assert "with row filter" in refuses(lake, f"alter table bronze.users execute {procedure}"), procedure
    assert "Cannot set catalog session property" in refuses(
        lake, "set session lake.remove_orphan_files_min_retention = '0s'"
    )


def test_the_operator_runs_a_tables_procedures(operator: LakeSettings) -> None:
    query.rows(operator, "alter table silver.orders execute optimize")


def is_there(lake: LakeSettings, table: str) -> bool:
    with suppress(query.QueryFailedError):
        query.rows(lake, f"select 1 from {table}")
        return True
    return False


def test_reader_sees_gold_and_masked_silver_and_changes_nothing(stack: Stack, operator: LakeSettings) -> None:
    reader = let_in(stack, operator, "ana", "reader")
    (shown,) = query.rows(reader, "select email, date_of_birth, country from silver.users")
    (real,) = query.rows(operator, "select email, date_of_birth, country from silver.users")
    assert MASK not in real.values()
    assert shown["email"] == MASK
    assert shown["date_of_birth"] is None
    assert shown["country"] == real["country"]
    assert not query.rows(reader, "select 1 from silver.users where email like '%@%'"), (
        "a mask hides from conditions too"
    )
    eventually(lambda: is_there(operator, "gold.users_by_country_and_age"), 180, "gold, built by its account")
    assert may(reader, "select * from gold.users_by_country_and_age")
    for table in (
        "bronze.users",
        "quarantine.users",
        'silver."users$files"',
        'silver."users$partitions"',
    ):
        assert not may(reader, f"select * from {table}"), table
    for statement in (
        "delete from silver.users",
        "insert into silver.users select * from silver.users",
        "drop table silver.users",
        "create table gold.mine (a int)",
        "call lake.system.rollback_to_snapshot('silver', 'users', 1)",
    ):
        assert not may(reader, statement), statement
    assert "users" in [row["Table"] for row in query.rows(reader, "show tables from silver")]


def test_engineer_sees_everything_and_changes_nothing(stack: Stack, operator: LakeSettings) -> None:
    engineer = let_in(stack, operator, "bea", "engineer")
    assert query.rows(engineer, "select email from silver.users") == query.rows(
        operator, "select email from silver.users"
    )
    for table in ("bronze.users", "quarantine.users", 'silver."users$snapshots"'):
        assert may(engineer, f"select * from {table}"), table
    for statement in (
        "delete from silver.users",
        "drop table bronze.users",
        "create schema mine",
        "create table gold.mine (a int)",
    ):
        assert not may(engineer, statement), statement


def test_who_is_let_out_or_gives_a_wrong_password_is_refused(stack: Stack, operator: LakeSettings) -> None:
    former = let_in(stack, operator, "eva", "engineer")
    wrong = former.model_copy(update={"trino_password": "wrong"})
    with pytest.raises(query.QueryFailedError, match="refuses 'eva'"):
        query.rows(wrong, "select 1")
    with pytest.raises(query.QueryFailedError, match="it asks for a password"):
        query.rows(former.model_copy(update={"trino_password": ""}), "select 1")
    stack.sluice("users", "revoke", "eva")
    eventually(lambda: not may(former, "select 1"), 30, "eva is out")


def test_nothing_is_told_without_encryption_or_to_another_certificate(operator: LakeSettings) -> None:
    plain = operator.trino_url.replace("https://", "http://")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{plain}/v1/info", timeout=10, trust_env=False)
    with pytest.raises(query.QueryFailedError, match="SLUICE_TRINO_CA"):
        query.rows(operator.model_copy(update={"trino_ca": None}), "select 1")


def test_nobody_asks_in_the_name_of_another(stack: Stack, operator: LakeSettings) -> None:
    told = json.loads(stack.sluice("users", "add", "max", "--json"))
    lake = operator.model_copy(update={"trino_user": "max", "trino_password": told["password"]})
    eventually(lambda: may(lake, "select 1"), 30, "max is let in")
    with httpx.Client(auth=("max", told["password"]), headers={"X-Trino-User": "sluice"}, verify=str(operator.trino_ca),
                      timeout=30, trust_env=False) as client:  # fmt: skip
        page = client.post(f"{operator.trino_url}/v1/statement", content="select 1").raise_for_status().json()
        while "nextUri" in page:
            page = client.get(page["nextUri"]).raise_for_status().json()
    assert page["error"]["errorName"] == "PERMISSION_DENIED"
