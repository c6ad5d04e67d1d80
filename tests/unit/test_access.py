"""Who may do what, as it is written for the servers."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import sql

from catalog.errors import SluiceError
from infra.access import database
from infra.access.accounts import ACCOUNTS, AT_BROKER, AT_TABLES, OPERATOR, AdminSettings
from infra.access.broker import rules, salted
from infra.access.object_store import policy, signed
from infra.access.requests import DENY, OPERATIONS, PREFIXED
from infra.native import config, encryption, monitoring, steps
from tests.stack import CHECKOUT


def test_no_policy_but_the_owners_reaches_beyond_the_warehouse() -> None:
    for account in AT_TABLES:
        for statement in policy(account, "s3://lake/warehouse")["Statement"]:
            for resource in statement["Resource"]:
                if account.name != OPERATOR:
                    assert resource == "arn:aws:s3:::lake" or resource.startswith("arn:aws:s3:::lake/warehouse/")
                    assert not any("*" in action for action in statement["Action"])


def test_signature_is_the_one_of_the_standard() -> None:
    headers = signed("http://h:9000/p", b"", "a", "s", "us-east-1", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert headers["x-amz-date"] == "20260102T030405Z"
    assert headers["x-amz-content-sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert "Credential=a/20260102/us-east-1/s3/aws4_request" in headers["authorization"]


def test_every_account_has_a_setting_for_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = config.choose(tmp_path, {})
    for told in (config.administration, config.broker_administration):
        with monkeypatch.context() as patch:
            for name, value in told(stack).items():
                patch.setenv(name, value)
            passwords = AdminSettings().passwords
        assert set(passwords) == {account.name for account in ACCOUNTS}
        assert len(set(passwords.values())) == len(ACCOUNTS)


def test_a_stack_of_before_accounts_has_their_passwords_too(tmp_path: Path) -> None:
    config.save(config.choose(tmp_path, {}))
    document = json.loads(config.settings_file(tmp_path).read_text())
    assert set(document["passwords"]) == {"postgres", "lake", "s3"}
    first, again = config.load(tmp_path), config.load(tmp_path)
    assert first
    assert again
    assert first.password("stream") == again.password("stream") != first.password("trino")


def test_the_broker_is_told_of_those_alone_who_have_work_there() -> None:
    assert {account.name for account in AT_BROKER} == {OPERATOR, "gateway", "stream", "verify", "explorer"}
    for account in AT_BROKER:
        denied = [acl for acl in rules(account) if acl.permission == DENY]
        assert [(acl.name, acl.pattern, acl.operation) for acl in denied] == [("_", PREFIXED, OPERATIONS["all"])]
        assert {acl.principal for acl in rules(account)} == {f"User:{account.name}"}
        assert (
            all(acl.operation != OPERATIONS["all"] for acl in rules(account) - set(denied)) or account.name == OPERATOR
        )


def test_a_password_is_salted_as_the_standard_says() -> None:
    name, mechanism, iterations, salt, hashed = salted("user", "SCRAM-SHA-256", "pencil")
    assert (name, mechanism) == ("user", 1)
    assert iterations >= 4096
    assert hashed == hashlib.pbkdf2_hmac("sha256", b"pencil", salt, iterations)
    assert salted("user", "SCRAM-SHA-256", "pencil")[3] != salt


def scraped(stack: config.Stack, name: str) -> dict[str, Any]:
    """How Prometheus asks a part."""
    jobs = yaml.safe_load(monitoring.configuration(stack))["scrape_configs"]
    return next(job for job in jobs if job["job_name"] == name)


def test_encryption_wants_all_its_files_and_remembers_them(tmp_path: Path) -> None:
    kafka, store, gateway = map(encryption.variables, ("kafka", "minio", "gateway"))
    files = {name: tmp_path / name for name in kafka}
    for file in files.values():
        file.write_text("x")
    given = {name: str(file) for name, file in files.items()}
    with pytest.raises(SluiceError, match="without SLUICE_KAFKA_CA: encryption needs all of"):
        config.choose(tmp_path, {**given, "SLUICE_KAFKA_CA": ""})
    config.save(config.choose(tmp_path, given))
    remembered = config.choose(tmp_path, {})
    assert remembered.tls == given
    assert config.variables(remembered)["SLUICE_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert not config.choose(tmp_path, dict.fromkeys(given, "")).tls
    assert remembered.url("gateway").startswith("http://"), "each way has its own files"
    more = dict.fromkeys(gateway, given["SLUICE_KAFKA_CA"])
    with pytest.raises(SluiceError, match="without SLUICE_GATEWAY_TLS_KEY: encryption needs all of"):
        config.choose(tmp_path, {**more, "SLUICE_GATEWAY_TLS_KEY": ""})
    more |= dict.fromkeys(store, given["SLUICE_KAFKA_TLS_CERTIFICATE"])
    encrypted = config.choose(tmp_path, more)
    assert config.variables(encrypted)["SLUICE_S3_ENDPOINT"].startswith("https://")
    assert config.variables(encrypted)["SLUICE_S3_CA"] == more["SLUICE_S3_CA"]
    assert config.variables(remembered)["SLUICE_S3_CA"] == ""
    assert config.variables(encrypted)["SLUICE_GATEWAY_URL"].startswith("https://")
    watched = config.variables(encrypted)["SLUICE_VERIFY_CERTIFICATES"].split(",")
    assert watched == [{**given, **more}[names[0]] for names in (kafka, store, gateway)]
    assert "scheme" not in scraped(encrypted, "gateway"), "at a port of its own, on loopback"
    shown = dict.fromkeys(encryption.variables("ui"), given["SLUICE_KAFKA_CA"])
    job = scraped(config.choose(tmp_path, shown), "ui")
    assert (job["scheme"], job["tls_config"]) == ("https", {"ca_file": shown["SLUICE_UI_CA"]})
    files["SLUICE_KAFKA_TLS_KEY"].unlink()
    with pytest.raises(SluiceError, match=r"SLUICE_KAFKA_TLS_KEY=.* cannot be read"):
        config.choose(tmp_path, {})


class Database:
    """A connection to PostgreSQL that notes what it is told; every role is there."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def execute(self, statement: sql.Composed | str, values: object = None) -> "Database":
        self.said.append(statement if isinstance(statement, str) else statement.as_string(None))
        return self

    def fetchone(self) -> tuple[int]:
        return (1,)


def test_the_owner_has_the_password_of_now_before_anything_is_done_as_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("psycopg.connect", lambda *_, **__: Database(said))
    monkeypatch.setattr("catalog.lake.prepare", lambda _: said.append("as the owner"))
    monkeypatch.setattr(database, "make_roles", lambda *_: said.append("roles"))
    monkeypatch.setenv("SLUICE_ADMIN_CATALOG_URI", "postgresql://postgres:p@127.0.0.1/lake")
    monkeypatch.setenv("SLUICE_PASSWORD_SLUICE", "an0ther")
    steps.catalog()
    altered = said.index("""alter role "sluice" password 'an0ther'""")
    assert said[0].startswith("select pg_advisory_xact_lock"), "Trino's step and the Job of Kubernetes do it at once"
    assert altered < said.index("as the owner") < said.index("roles")
    monkeypatch.delenv("SLUICE_PASSWORD_SLUICE")
    del said[:]
    steps.catalog()
    assert said == ["as the owner", "roles"], "an owner whose password is not known here keeps it"


STAND_IN = """#!{python}
import json, pathlib, sys
name, *arguments = sys.argv
files = [pathlib.Path(one.removeprefix("@")) for one in arguments]
given = {{str(file): file.read_text() for file in files if file.is_file()}}
said = sys.stdin.read() if "--single" in arguments or "--pwfile=/dev/stdin" in arguments else ""
with pathlib.Path({notes!r}).open("a") as notes:
    notes.write(json.dumps({{"arguments": arguments, "files": given, "said": said}}) + "\\n")
if name.endswith("initdb"):
    (pathlib.Path(arguments[arguments.index("-D") + 1]) / "PG_VERSION").write_text("18")
if {fails!r} and {fails!r} in said:
    print("ERROR:  no", file=sys.stderr)
"""


def started(
    script: str, folder: Path, environment: Mapping[str, str], fails: str = ""
) -> tuple[int, list[dict[str, Any]]]:
    """A server's start in a folder of its own, with stand-ins for its programs: how it ended, and what each was called with."""
    text = (CHECKOUT / "infra" / "images" / "servers" / script).read_text()
    notes, own = folder / "notes", folder / "tmp"
    notes.unlink(missing_ok=True)
    own.mkdir(exist_ok=True)
    (folder / script).write_text(text.replace("/tmp/", f"{own}/").replace("/var/lib", f"{folder}/lib"))
    for name in ("java", "initdb", "postgres"):
        (folder / name).write_text(STAND_IN.format(python=sys.executable, notes=str(notes), fails=fails))
        (folder / name).chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(folder / script)], env={**path, **environment}, capture_output=True, check=False, timeout=60
    )
    return done.returncode, [json.loads(line) for line in notes.read_text().splitlines()]


def test_kafkas_administrator_has_the_password_of_now_and_no_process_is_called_with_it(tmp_path: Path) -> None:
    data = tmp_path / "lib" / "kafka" / "data"
    data.parent.mkdir(parents=True)
    code, calls = started("kafka.sh", tmp_path, {"KAFKA_ADMIN_PASSWORD": "s3cret"})
    assert code == 0
    assert "s3cret" not in str([call["arguments"] for call in calls])
    formatted = next(call for call in calls if "format" in call["arguments"])
    assert "--add-scram\nSCRAM-SHA-512=[name=administrator,password=s3cret]\n" in formatted["files"].values()
    data.mkdir()
    (data / "meta.properties").touch()
    (data.parent / "administrator").touch()
    for password in ("s3cret", "an0ther"):
        code, calls = started("kafka.sh", tmp_path, {"KAFKA_ADMIN_PASSWORD": password})
        assert code == 0
        assert password not in str([call["arguments"] for call in calls])
        altered = next(call for call in calls if "kafka.admin.ConfigCommand" in call["arguments"])
        assert f"SCRAM-SHA-512=password={password}\n" in altered["files"].values()


def test_postgres_counts_as_made_only_with_its_role_and_database(tmp_path: Path) -> None:
    cluster = tmp_path / "18" / "docker"
    environment = {"POSTGRES_PASSWORD": "super", "LAKE_PASSWORD": "it's", "PGDATA": str(cluster)}
    for fails in ("create role", "create database"):
        code, calls = started("postgres.sh", tmp_path, environment, fails)
        assert code == 1
        assert not cluster.exists(), "an interrupted attempt is begun again"
        assert fails in calls[-1]["said"]
    code, calls = started("postgres.sh", tmp_path, environment)
    assert code == 0
    assert [call["said"] for call in calls] == [
        "super\n", "create role sluice login password 'it''s'\n", "create database lake owner sluice\n", ""
    ]  # fmt: skip
    assert (cluster / "PG_VERSION").exists()
    code, calls = started("postgres.sh", tmp_path, environment)
    assert (code, len(calls)) == (0, 1), "it is made once"
