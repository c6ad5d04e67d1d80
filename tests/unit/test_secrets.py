"""Passwords for a stack in containers: made once, kept, and never defaulted."""

import re
import stat
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from catalog.errors import SluiceError
from infra.access import certificate
from infra.commands import secrets
from tests.stack import CHECKOUT

NAMES = {
    "POSTGRES_PASSWORD", "LAKE_PASSWORD", "S3_SECRET_KEY", "GRAFANA_PASSWORD",
    "STREAM_PASSWORD", "MAINTENANCE_PASSWORD", "VERIFY_PASSWORD", "TRINO_PASSWORD",
    "BROKER_PASSWORD", "GATEWAY_PASSWORD", "EXPLORER_PASSWORD",
    "TRINO_OPERATOR_PASSWORD", "TRINO_GOLD_PASSWORD", "TRINO_EXPLORER_PASSWORD", "TRINO_INTERNAL_SECRET",
}  # fmt: skip


def test_every_name_of_the_example_is_empty_there() -> None:
    text = secrets.EXAMPLE.read_text()
    assert set(re.findall(r"^(\w+)=$", text, re.MULTILINE)) == NAMES
    assert not re.findall(r"^\w+=.+$", text, re.MULTILINE)


def test_passwords_are_made_once_and_nobody_else_reads_them(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    secrets.secrets(file=file, kubernetes=False, tls=False)
    first = file.read_text()
    values = re.findall(r"^\w+=([0-9a-f]{40})$", first, re.MULTILINE)
    assert len(set(values)) == len(NAMES)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets.secrets(file=file, kubernetes=False, tls=False)
    assert file.read_text() == first


def test_what_a_file_has_stays_and_what_it_lacks_is_added(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LAKE_PASSWORD=mine\nSLUICE_PORT_UI=8080\n")
    secrets.secrets(file=file, kubernetes=False, tls=False)
    text = file.read_text()
    assert text.startswith("LAKE_PASSWORD=mine\nSLUICE_PORT_UI=8080\n")
    assert all(re.search(rf"^{name}=.", text, re.MULTILINE) for name in NAMES)


def test_a_setting_of_compose_that_is_empty_stays_so(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SLUICE_TAG=\nSLUICE_API_KEY=\n# LAKE_PASSWORD=\nSTREAM_PASSWORD=''\n")
    secrets.secrets(file=file, kubernetes=False, tls=False)
    text = file.read_text()
    assert text.startswith("SLUICE_TAG=\nSLUICE_API_KEY=\n# LAKE_PASSWORD=\n")
    assert re.search(r"^STREAM_PASSWORD=[0-9a-f]{40}$", text, re.MULTILINE)
    assert re.search(r"^LAKE_PASSWORD=[0-9a-f]{40}$", text, re.MULTILINE)


@pytest.mark.parametrize("written", ["'mine'", '"mine"', " mine "])
def test_kubernetes_is_told_what_compose_reads(
    written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    file = tmp_path / ".env"
    file.write_text(f"export LAKE_PASSWORD={written}\n")
    secrets.secrets(file=file, kubernetes=True, tls=False)
    manifest, _ = yaml.safe_load_all(capsys.readouterr().out)
    assert manifest["stringData"]["LAKE_PASSWORD"] == "mine"
    assert file.read_text().count("LAKE_PASSWORD=") == 1


@pytest.mark.parametrize(
    "password", ["it's", "p@ss", "a/b", "a:b", "50%", "a b", "$HOME", "mine # not yours", "pässword"]
)
@pytest.mark.parametrize("kubernetes", [False, True])
def test_a_password_that_means_something_in_an_address_or_in_sql_is_refused(
    password: str, kubernetes: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"LAKE_PASSWORD={password}\n")
    with pytest.raises(SluiceError, match="LAKE_PASSWORD may hold only letters") as refused:
        secrets.secrets(file=file, kubernetes=kubernetes, tls=False)
    assert password not in str(refused.value), "an error is seen by many"
    assert file.read_text() == f"LAKE_PASSWORD={password}\n"
    assert capsys.readouterr().out == ""


def test_git_takes_no_file_of_secrets_that_the_guides_have_one_write() -> None:
    names = [".env", ".env.production", "secret.yaml", "keys.json", "people/password.db", "catalog.json"]
    asked = subprocess.run(
        ["git", "check-ignore", "--no-index", ".env.example", *names], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )  # fmt: skip
    if asked.returncode == 128:
        pytest.skip("this is no clone")
    assert asked.stdout.splitlines() == names


def test_secret_for_kubernetes_holds_the_passwords_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    file = tmp_path / ".env"
    file.write_text("LAKE_PASSWORD=mine\nSLUICE_PORT_UI=8080\n")
    secrets.secrets(file=file, kubernetes=True, tls=False)
    manifest, trust = yaml.safe_load_all(capsys.readouterr().out)
    assert manifest["kind"] == "Secret"
    assert manifest["metadata"]["name"] == secrets.NAME
    assert set(manifest["stringData"]) == NAMES
    assert manifest["stringData"]["LAKE_PASSWORD"] == "mine"
    assert trust["type"] == "kubernetes.io/tls"
    assert trust["metadata"]["name"] == secrets.TRINO.secret
    assert certificate.serves(trust["stringData"]["tls.crt"], secrets.TRINO.names)
    secrets.secrets(file=file, kubernetes=True, tls=False)
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == [manifest, trust], "kept"


def test_with_tls_each_component_gets_a_certificate_for_the_names_of_its_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    secrets.secrets(file=file, kubernetes=True, tls=True)
    made = list(yaml.safe_load_all(capsys.readouterr().out))
    found = {one["metadata"]["name"]: one["stringData"] for one in made}
    assert set(found) == {secrets.NAME, "trino-tls", "servers-tls", "gateway-tls", "metrics-tls"}
    for pair in (secrets.TRINO, *secrets.OTHERS):
        secret = found[pair.secret]
        assert certificate.serves(secret["tls.crt"], pair.names)
        assert secret["ca.crt"] == secret["tls.crt"]
        assert secret["tls.key"].startswith("-----BEGIN PRIVATE KEY-----"), "as Kafka wants it"
    assert len({secret["tls.key"] for name, secret in found.items() if name != secrets.NAME}) == 4
    secrets.secrets(file=file, kubernetes=True, tls=True)
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == made, "kept"
    with pytest.raises(typer.BadParameter, match="--kubernetes"):
        secrets.secrets(file=file, kubernetes=False, tls=True)
