"""`docker compose up`: events in over HTTP come out of Trino, and no container can do more than it must."""

import asyncio
import json
import re
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from catalog import kafka_client, query
from catalog.settings import LakeSettings
from infra.access.trino_rules import MASK
from infra.demo.generate import users
from tests.compose.conftest import Compose
from tests.stack import CHECKOUT, eventually

# The first test waits for the whole stack.
pytestmark = pytest.mark.timeout(2400)


def trino(compose: Compose, folder: Path, user: str = "sluice", password: str = "") -> LakeSettings:
    """Trino as somebody asks it from outside; who is not named is the operator."""
    certificate = folder / "certificate.pem"
    certificate.write_text(compose.run("exec", "-T", "ui", "cat", "/var/lib/trust/certificate.pem"))
    return LakeSettings.model_construct(
        trino_url=f"https://127.0.0.1:{compose.ports['trino']}", catalog_name="lake", trino_user=user,
        trino_password=password or compose.environment["TRINO_OPERATOR_PASSWORD"], trino_ca=certificate,
    )  # fmt: skip


def count(lake: LakeSettings, table: str) -> int:
    return int(query.rows(lake, f"select count(*) as n from {table}")[0]["n"])


def test_event_goes_in_at_the_gateway_and_comes_out_of_trino(compose: Compose, tmp_path: Path) -> None:
    lake = trino(compose, tmp_path)
    before = count(lake, "silver.users")
    answer = httpx.post(f"{compose.url('gateway')}/v1/streams/users/events", json=next(iter(users(1))), timeout=30)
    assert answer.status_code == 202, answer.text
    eventually(lambda: count(lake, "silver.users") > before, 180, "the row in Trino")


def test_demo_is_in_the_tables_and_nothing_is_lost_or_double(compose: Compose) -> None:
    compose.run("run", "--rm", "-T", "cli", "sluice", "demo")
    reports = json.loads(compose.run("run", "--rm", "-T", "cli", "sluice", "verify", "--json"))
    assert {report["stream"] for report in reports} >= {"orders", "wildlife_strikes", "earthquakes", "users"}
    assert not [report for report in reports if report["deviations"]]


def test_explorer_answers(compose: Compose) -> None:
    assert httpx.get(f"{compose.url('ui')}/_stcore/health", timeout=10).text == "ok"


def test_containers_are_confined(compose: Compose) -> None:
    ids = compose.run("ps", "-q").split()
    assert len(ids) == 10
    inspected = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True).stdout
    for container in json.loads(inspected):
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"] == "10001:10001", name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"], f"{name} has no limit"
        for published in (host["PortBindings"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in published), name


def test_gateway_and_explorer_know_no_password_of_the_tables(compose: Compose) -> None:
    own = {
        "gateway": {"GATEWAY_PASSWORD"},
        "ui": {"EXPLORER_PASSWORD", "TRINO_EXPLORER_PASSWORD"},
        "gold": {"TRINO_GOLD_PASSWORD"},
    }
    for service in own:
        environment = compose.run("exec", "-T", service, "env")
        for name, value in compose.environment.items():
            allowed = name.startswith("SLUICE_PORT_") or name in own[service]
            assert allowed or value not in environment, f"{service} knows {name}"


def test_broker_lets_in_who_has_a_password_and_bounds_what_they_do(compose: Compose) -> None:
    where = f"127.0.0.1:{compose.ports['kafka']}"
    anybody = LakeSettings.model_construct(kafka_bootstrap=where, kafka_security_protocol="SASL_PLAINTEXT")

    def lake(**settings: str) -> LakeSettings:
        return anybody.model_copy(update=settings)

    own = lake(kafka_user="gateway", kafka_password=compose.environment["GATEWAY_PASSWORD"])
    assert asyncio.run(kafka_client.refusal(own)) is None
    wrong = asyncio.run(kafka_client.refusal(lake(kafka_user="gateway", kafka_password="not-it")))
    assert "refuses 'gateway': wrong password" in str(wrong)
    none = asyncio.run(kafka_client.refusal(lake(kafka_security_protocol="PLAINTEXT")))
    assert "may want a user" in str(none)

    async def read() -> None:
        async with kafka_client.consumer(own, "users", auto_offset_reset="earliest") as consumer:
            await consumer.getone()

    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(asyncio.wait_for(read(), 60))


def test_trino_lets_in_who_has_a_password_and_masks_for_readers(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(query.QueryFailedError, match="refuses 'sluice'"):
        count(trino(compose, tmp_path, password="not-it"), "silver.users")
    explorer = trino(compose, tmp_path, "explorer", compose.environment["TRINO_EXPLORER_PASSWORD"])
    with pytest.raises(query.QueryFailedError, match="Access Denied"):
        query.rows(explorer, "delete from silver.users")
    told = json.loads(compose.run("run", "--rm", "-T", "cli", "sluice", "users", "add", "ana", "--json"))
    reader = trino(compose, tmp_path, "ana", told["password"])
    eventually(lambda: lets_in(reader), 30, "ana is let in")
    shown = query.rows(reader, "select distinct email from silver.users")
    assert shown == [{"email": MASK}]
    with pytest.raises(query.QueryFailedError, match="Access Denied"):
        count(reader, "bronze.users")


def lets_in(lake: LakeSettings) -> bool:
    """Both files, of passwords and of groups, are read by Trino each for itself."""
    with suppress(query.QueryFailedError):
        return bool(query.rows(lake, "select 1 from silver.users limit 1"))
    return False


def test_a_part_knows_its_own_password_and_no_other(compose: Compose) -> None:
    known = {name: value for name, value in compose.environment.items() if not name.startswith("SLUICE_PORT_")}
    for service in ("stream", "maintenance", "verify", "trino"):
        environment = compose.run("exec", "-T", service, "env")
        own = {f"{service.upper()}_PASSWORD", *(["TRINO_INTERNAL_SECRET"] if service == "trino" else [])}
        assert {name for name, value in known.items() if value in environment} == own


def test_gateway_asks_for_the_keys_that_the_command_line_makes(compose: Compose) -> None:
    made = compose.run("run", "--rm", "-T", "cli", "sluice", "keys", "add", "test", "--stream", "users", "--json")
    key = json.loads(made)["key"]
    settings = {"SLUICE_GATEWAY_AUTHENTICATION": "required", "SLUICE_API_KEY": key}
    closed = replace(compose, environment={**compose.environment, **settings})
    try:
        closed.run("up", "--wait", "--no-deps", "gateway")
        url = f"{compose.url('gateway')}/v1/streams/users/events"
        event = next(iter(users(1)))
        assert httpx.post(url, json=event, timeout=30).status_code == 401
        assert httpx.post(url, json=event, timeout=30, headers={"x-api-key": key}).status_code == 202
        assert f"SLUICE_API_KEY={key}" in closed.run("run", "--rm", "-T", "cli", "env").split()
    finally:
        compose.run("up", "--wait", "--no-deps", "gateway")


def test_a_spool_that_a_gateway_left_is_sent_by_the_runbook(compose: Compose, tmp_path: Path) -> None:
    lake = trino(compose, tmp_path)
    runbook = (CHECKOUT / "docs/runbooks/SpoolLeft.md").read_text()
    (command,) = re.findall(r"^docker compose (run --rm -v .*)$", runbook, re.MULTILINE)
    words = command.replace("sluice_gateway:", f"{compose.project}_gateway:").replace("--rm", "--rm -T").split()
    event = {**next(iter(users(1))), "user_id": str(uuid4())}
    compose.run("stop", "broker")
    try:
        answer = httpx.post(f"{compose.url('gateway')}/v1/streams/users/events", json=event, timeout=60)
        assert answer.json()["events"][0]["status"] == "spooled", answer.text
        compose.run("stop", "gateway")
        assert "users" in compose.run(*words)
        compose.run("up", "--wait", "--no-deps", "broker")
        compose.run(*("drain" if word == "list" else word for word in words))
        sent = f"silver.users where user_id = '{event['user_id']}'"
        eventually(lambda: count(lake, sent) == 1, 180, "the event, with no gateway there")
    finally:
        compose.run("up", "--wait", "--no-deps", "broker", "gateway")


def test_images_hold_nothing_that_installs(compose: Compose) -> None:
    for service in ("gateway", "stream", "ui", "gold"):
        said = compose.run(
            "exec", "-T", service, "sh", "-c", "command -v pip pip3 gcc cc make curl wget || echo none; id -u; touch /x || true"
        )  # fmt: skip
        assert said.split()[:2] == ["none", "10001"], service
