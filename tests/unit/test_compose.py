"""compose.yaml as it is written, and as Compose reads it where there is one."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.access.accounts import AT_BROKER, OPERATOR
from infra.commands.secrets import EXAMPLE
from ingest_gateway.settings import GatewaySettings
from tests.stack import CHECKOUT

STEPS = {"access", "accounts", "catalog", "tables"}
OWN = {*STEPS, "gateway", "stream", "maintenance", "verify", "gold", "ui", "cli"}


FILES = ("compose.yaml", "infra/compose.self-contained.yaml")


class _Loader(yaml.SafeLoader):
    """Reads Compose's own tags, which say how a file is laid over another one, as what they stand before."""


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return None


_Loader.add_multi_constructor("!", _plain)


@cache
def services(file: str = FILES[0]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.load((CHECKOUT / file).read_text(), _Loader)["services"]
    return found


def test_third_parties_are_pinned_and_ours_have_one_tag() -> None:
    for name, service in services().items():
        image, _, tag = service["image"].partition(":")
        if name in OWN:
            assert service["image"].endswith(":${SLUICE_TAG:-0.1.0}"), name
        else:
            assert re.search(r"\d+\.\d+|RELEASE\.\d|^\d{3}$", tag), f"{image}:{tag} is not pinned"


@pytest.mark.parametrize("file", FILES)
def test_an_image_of_ours_is_never_pulled(file: str) -> None:
    """Nobody here owns `sluice` at a registry: whoever does could have the administrators' passwords."""
    ours = {name: service for name, service in services(file).items() if service["image"].startswith("sluice/")}
    assert ours
    assert {name: service.get("pull_policy") for name, service in ours.items()} == dict.fromkeys(ours, "never")


def test_each_image_of_ours_is_built_by_one_service_that_always_starts() -> None:
    ours = {services()[name]["image"] for name in OWN}
    built = [service["image"] for service in services().values() if "build" in service and "profiles" not in service]
    assert sorted(built) == sorted(ours)
    for service in services().values():
        if "build" in service:
            image = service["image"].partition(":")[0]
            assert service["build"]["target"] == image.removeprefix("sluice/")


def test_every_service_is_bounded_and_published_on_loopback_alone() -> None:
    for name, service in services().items():
        assert "mem_limit" in service, name
        assert "logging" in service, f"{name}: its log would grow without end"
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert "privileged" not in service, name
        assert not [mount for mount in service.get("volumes", ()) if "docker.sock" in mount], name


def test_services_are_confined() -> None:
    writes_elsewhere = {"console", "prometheus", "alertmanager", "grafana"}  # nothing says that these never do
    for name, service in services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only", False) == (name not in writes_elsewhere), name
    loosening = {"cap_add", "cap_drop", "security_opt", "read_only", "privileged"}
    assert not [name for name, service in services(FILES[1]).items() if loosening & set(service)]


def test_a_server_writes_only_where_kubernetes_lets_the_same_image_write() -> None:
    for file, name in (
        ("redpanda/broker", "broker"),
        ("stores/minio", "minio"),
        ("stores/postgres", "postgres"),
        ("stores/trino", "trino"),
    ):
        service = services()[name]
        documents = yaml.safe_load_all((CHECKOUT / "k8s" / "components" / f"{file}.yaml").read_text())
        pod = next(one for one in documents if one["kind"] in ("StatefulSet", "Deployment"))["spec"]["template"]["spec"]
        container = next(one for one in pod["containers"] if one["name"] == name)
        assert container["image"] == service["image"], name
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert container["securityContext"]["capabilities"] == {"drop": service["cap_drop"]}, name
        mounted = {mount.split(":")[1] for mount in service["volumes"]} | {
            mount.split(":")[0] for mount in service["tmpfs"]
        }
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable - {"/etc/trino", "/docker-entrypoint-initdb.d"} <= mounted, name


def test_whoever_looks_at_the_broker_by_console_may_change_nothing() -> None:
    told = services()["console"]["environment"]
    account = next(one for one in AT_BROKER if one.name == told["KAFKA_SASL_USERNAME"])
    assert set(account.topics) == {"describe", "describe_configs", "read"}
    assert told["KAFKA_SASL_PASSWORD"].startswith(f"${{{account.name.upper()}_PASSWORD:?")


def test_the_end_of_trinos_certificate_is_watched() -> None:
    verify = services()["verify"]
    assert verify["environment"]["SLUICE_VERIFY_CERTIFICATES"] == services()["gold"]["environment"]["SLUICE_TRINO_CA"]
    assert "trust:/var/lib/trust:ro" in verify["volumes"]
    assert "access" in verify["depends_on"], "a file that is not there yet counts as one that has ended"


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


def test_keys_are_made_by_the_command_line_and_only_read_by_the_gateway() -> None:
    gateway, cli = services()["gateway"], services()["cli"]
    file = Path(gateway["environment"]["SLUICE_GATEWAY_KEYS"])
    assert cli["environment"]["SLUICE_GATEWAY_KEYS"] == str(file)
    assert f"keys:{file.parent}:ro" in gateway["volumes"]
    assert f"keys:{file.parent}" in cli["volumes"]
    # A new volume belongs to whom the image's folder belongs to: only these two are the user's.
    assert str(file.parent) in ("/var/lib/sluice", "/var/lib/trust")
    assert [name for name, service in services().items() if "keys:" in str(service.get("volumes"))] == [
        "gateway",
        "cli",
    ]
    given = {name: gateway["environment"][name] for name in ("SLUICE_GATEWAY_AUTHENTICATION", "SLUICE_GATEWAY_KEYS")}
    assert given["SLUICE_GATEWAY_AUTHENTICATION"] == "${SLUICE_GATEWAY_AUTHENTICATION:-off}"
    required = GatewaySettings(host="0.0.0.0", authentication="required", keys=file, allow_unauthenticated=False)
    assert required.keys == file
    assert cli["environment"]["SLUICE_API_KEY"] == "${SLUICE_API_KEY:-}", "what `sluice send` and `demo` send it with"


def test_who_asks_trino_believes_the_certificate_that_the_step_makes() -> None:
    for name, service in services().items():
        mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in service.get("volumes", ())}
        if "SLUICE_TRINO_PASSWORD" not in service.get("environment", {}):
            continue
        file = Path(service["environment"]["SLUICE_TRINO_CA"])
        volume = mounts[next(str(folder) for folder in file.parents if str(folder) in mounts)]
        assert volume == ("trino-access" if "trino" in file.parts else "trust"), name


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


@pytest.mark.parametrize("files", [FILES[:1], FILES])
def test_compose_takes_it(files: tuple[str, ...]) -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("no `docker compose` here: only the file's structure was checked")
    options = [option for file in files for option in ("-f", file)]
    given = dict.fromkeys(re.findall(r"^(\w+)=$", EXAMPLE.read_text(), re.MULTILINE), "x")
    environment = [f"{name}={value}" for name, value in given.items()]
    done = subprocess.run(
        ["env", *environment, "docker", "compose", "--env-file", "/dev/null", *options, "--profile", "*", "config",
         "--format", "json"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, service in json.loads(done.stdout)["services"].items():
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
        assert service["image"].startswith("sluice/") == (service.get("pull_policy") == "never"), name
    refused = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", *options, "config", "-q"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "run ./sluice secrets first" in refused.stderr
