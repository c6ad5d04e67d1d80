"""compose.yaml as it is written, and as Compose reads it where there is one."""

import re
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from infra.access.accounts import AT_BROKER, OPERATOR
from infra.commands.secrets import EXAMPLE
from tests.stack import CHECKOUT

STEPS = {"access", "accounts", "catalog", "tables"}
OWN = {*STEPS, "gateway", "stream", "maintenance", "verify", "gold", "ui", "cli"}


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def test_third_parties_are_pinned_and_ours_have_one_tag() -> None:
    for name, service in services().items():
        image, _, tag = service["image"].partition(":")
        if name in OWN:
            assert service["image"].endswith(":${SLUICE_TAG:-0.1.0}"), name
        else:
            assert re.search(r"\d+\.\d+|RELEASE\.\d|^\d{3}$", tag), f"{image}:{tag} is not pinned"


def test_every_service_is_bounded_and_published_on_loopback_alone() -> None:
    for name, service in services().items():
        assert "mem_limit" in service, name
        assert "logging" in service, f"{name}: its log would grow without end"
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert "privileged" not in service, name
        assert not [mount for mount in service.get("volumes", ()) if "docker.sock" in mount], name


def test_own_services_are_confined() -> None:
    for name in OWN:
        service = services()[name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_no_password_is_written_down_or_defaulted() -> None:
    text = (CHECKOUT / "compose.yaml").read_text()
    for name in re.findall(r"^(\w+)=$", EXAMPLE.read_text(), re.MULTILINE):
        uses = re.findall(rf"\$\{{{name}(.*?)\}}", text)
        assert uses, f"{name} is used nowhere"
        assert all(use.startswith(":?") for use in uses), f"{name} has a default"


def test_those_who_need_no_table_know_no_password_of_one() -> None:
    own = {
        "gateway": {"SLUICE_KAFKA_PASSWORD": "GATEWAY_PASSWORD"},
        "ui": {"SLUICE_KAFKA_PASSWORD": "EXPLORER_PASSWORD", "SLUICE_TRINO_PASSWORD": "TRINO_EXPLORER_PASSWORD"},
        "gold": {"SLUICE_TRINO_PASSWORD": "TRINO_GOLD_PASSWORD"},
    }
    for name in ("gateway", "ui", "gold"):
        environment = services()[name]["environment"]
        known = {
            key: str(value)[2:].split(":")[0]
            for key, value in environment.items()
            if re.search("PASSWORD|SECRET", str(value))
        }
        assert known == own[name], name


def test_a_part_signs_in_at_the_broker_under_its_own_name() -> None:
    names = {
        "gateway": "gateway",
        "stream": "stream",
        "verify": "verify",
        "ui": "explorer",
        "tables": "sluice",
        "cli": "sluice",
    }
    for name in OWN - {"access"}:
        environment = services()[name]["environment"]
        assert environment["SLUICE_KAFKA_SECURITY_PROTOCOL"] == "SASL_PLAINTEXT"
        assert environment.get("SLUICE_KAFKA_USER") == (OPERATOR if name == "catalog" else names.get(name)), name
    passwords = {f"SLUICE_PASSWORD_{account.name.upper()}" for account in AT_BROKER}
    assert passwords <= set(services()["accounts"]["environment"])
    assert [name for name in OWN if "SLUICE_ADMIN_KAFKA_PASSWORD" in services()[name]["environment"]] == ["accounts"]


def test_redpanda_lets_in_only_who_has_a_user() -> None:
    told = yaml.safe_load((CHECKOUT / "infra" / "redpanda" / "bootstrap.yaml").read_text())
    assert told["enable_sasl"]
    assert told["admin_api_require_auth"], "who reaches the administration could make itself a user"
    assert told["superusers"] == [services()["broker"]["environment"]["RP_BOOTSTRAP_USER"].split(":")[0]]
    assert not told["auto_create_topics_enabled"]


def test_start_is_ordered_by_health() -> None:
    for name, service in services().items():
        needs = service.get("depends_on", {})
        for other, how in needs.items():
            once = other in STEPS
            expected = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == expected, f"{name} → {other}"


def test_redpanda_syncs_before_it_acknowledges() -> None:
    command = services()["broker"]["command"]
    assert "--unsafe-bypass-fsync=false" in command
    assert "--set=redpanda.developer_mode=false" in command
    assert "--set=redpanda.write_caching_default=disabled" in command
    assert not [word for word in command if word.startswith("--mode")], "dev-container mode bypasses fsync"


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "infra/compose.self-contained.yaml"]])
def test_compose_takes_it(files: list[str]) -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("no `docker compose` here: only the file's structure was checked")
    options = [option for file in files for option in ("-f", file)]
    given = dict.fromkeys(re.findall(r"^(\w+)=$", EXAMPLE.read_text(), re.MULTILINE), "x")
    environment = [f"{name}={value}" for name, value in given.items()]
    done = subprocess.run(
        ["env", *environment, "docker", "compose", *options, "--profile", "*", "config", "-q"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", *options, "config", "-q"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "run ./sluice secrets first" in refused.stderr
