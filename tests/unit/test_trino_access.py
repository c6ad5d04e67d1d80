"""Rules, users and certificate of a Trino that asks for passwords."""

import json
import ssl
from pathlib import Path

import pytest

from catalog.contract import SENSITIVE, Column, Stream
from catalog.errors import SluiceError
from catalog.odcs import load_contracts
from catalog.settings import BUNDLED_CONTRACTS, LakeSettings
from infra.access import certificate
from infra.access.accounts import OPERATOR
from infra.access.trino import AUTHORITIES, RULES, TrinoAccessSettings, make_access, write_access, write_rules
from infra.access.trino_rules import READERS, masks, rules
from infra.access.trino_users import (
    CERTIFICATE,
    GROUPS,
    KEYSTORE,
    PARTS,
    PASSWORDS,
    changing,
    is_password,
    new_user,
    read_users,
)
from tests.stack import CHECKOUT

BUNDLED = CHECKOUT / "catalog" / "contracts"


def silver_rules(streams: list[Stream]) -> dict[str, dict[str, str]]:
    """Stream → its masks, of the tables of silver that readers may read."""
    found = {}
    for rule in rules(streams)["tables"]:
        if rule.get("group") == READERS and rule.get("schema") == "silver":
            found[rule["table"]] = {column["name"]: column["mask"] for column in rule.get("columns", [])}
    return found


@pytest.mark.parametrize("folder", [BUNDLED, CHECKOUT / "tests" / "contracts"], ids=lambda folder: folder.name)
def test_each_sensitive_column_of_each_contract_is_masked_and_no_other(folder: Path) -> None:
    streams = list(load_contracts(folder).values())
    found = silver_rules(streams)
    assert set(found) == {stream.name for stream in streams}
    for stream in streams:
        direct = {column.name for column in stream.columns if column.classification in SENSITIVE}
        assert direct <= set(found[stream.name])
        for column in stream.columns:
            if not column.fields and column.items is None and column.classification not in SENSITIVE:
                assert column.name not in found[stream.name]


def test_text_shows_that_it_is_there_and_other_types_are_null() -> None:
    columns = [
        Column("name", "string", classification="restricted"),
        Column('o"dd', "string", classification="confidential"),
        Column("born", "date", classification="restricted"),
        Column("open", "string", classification="public"),
        Column("home", "object", fields=(Column("street", "string", classification="restricted"),)),
        Column("names", "array", items=Column("name", "string", classification="restricted")),
    ]
    assert masks(columns) == {
        "name": "CASE WHEN \"name\" IS NOT NULL THEN '***' END",
        'o"dd': 'CASE WHEN "o""dd" IS NOT NULL THEN \'***\' END',
        "born": "NULL",
        "home": "NULL",
        "names": "NULL",
    }


def test_what_no_rule_names_is_closed() -> None:
    assert rules([])["tables"][-1] == {"privileges": []}
    assert {rule["schema"] for rule in rules([])["tables"] if rule.get("group") == READERS} == {"gold", "jdbc|metadata"}


def test_parts_are_let_in_and_people_stay(tmp_path: Path) -> None:
    passwords = {part: f"{part}-password" for part in PARTS}
    write_access(tmp_path, load_contracts(BUNDLED).values(), passwords)
    before = (tmp_path / PASSWORDS).read_text()
    ana, _ = new_user("ana", "reader")
    with changing(tmp_path) as users:
        users.append(ana)
    write_access(tmp_path, [], passwords)
    assert (tmp_path / PASSWORDS).read_text().startswith(before), "the same passwords keep their lines"
    write_access(tmp_path, [], {**passwords, OPERATOR: "another"})
    found = {user.name: user for user in read_users(tmp_path)}
    assert found["ana"] == ana
    assert is_password("another", found[OPERATOR].hash)
    assert not is_password(passwords[OPERATOR], found[OPERATOR].hash)
    assert {(tmp_path / name).stat().st_mode & 0o077 for name in (PASSWORDS, GROUPS, RULES)} == {0}


def test_rules_are_written_anew_only_where_they_differ(tmp_path: Path) -> None:
    streams = load_contracts(BUNDLED).values()
    write_rules(tmp_path, streams)
    first = (tmp_path / RULES).stat()
    write_rules(tmp_path, reversed(list(streams)))
    assert (tmp_path / RULES).stat().st_ino == first.st_ino
    write_rules(tmp_path, [])
    assert "users" not in json.dumps(json.loads((tmp_path / RULES).read_text()))


@pytest.mark.parametrize("name", ["", "Ana", "a b", "a:b", "a,b", "-a", "ü", "a" * 64, *PARTS])
def test_a_name_that_can_be_none_is_refused(name: str) -> None:
    with pytest.raises(SluiceError, match=r"user's name|account of a part"):
        new_user(name, "reader")


@pytest.mark.parametrize("text", ["no colon", "ana"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / PASSWORDS).write_text(f"{text}\n")
    with pytest.raises(SluiceError, match=r"password\.db has a line without a colon"):
        read_users(tmp_path)


def test_a_certificate_serves_its_names_until_it_is_about_to_end(tmp_path: Path) -> None:
    certificate.keep(tmp_path, ["127.0.0.1", "lake.example.com"])
    kept = (tmp_path / KEYSTORE).read_text()
    assert "PRIVATE KEY" in kept
    assert "PRIVATE KEY" not in (tmp_path / CERTIFICATE).read_text()
    ssl.create_default_context(cafile=str(tmp_path / CERTIFICATE))
    certificate.keep(tmp_path, ["lake.example.com"])
    assert (tmp_path / KEYSTORE).read_text() == kept
    certificate.keep(tmp_path, ["trino"])
    assert (tmp_path / KEYSTORE).read_text() != kept
    assert not certificate.serves("no certificate", ["trino"])


def test_the_authority_of_the_store_is_told_to_trinos_java(tmp_path: Path) -> None:
    told = TrinoAccessSettings.model_validate(
        {"access": tmp_path / "access", "password_sluice": "a", "password_gold": "b", "password_explorer": "c"}
    )
    _, public = certificate.self_signed(["minio"])
    (tmp_path / "ca.crt").write_text(public)
    lake = LakeSettings.model_construct(contracts=BUNDLED_CONTRACTS, s3_ca=None)
    make_access(lake, told)
    assert not (told.access / AUTHORITIES).exists()
    lake = lake.model_copy(update={"s3_ca": tmp_path / "ca.crt"})
    make_access(lake, told)
    assert ssl.PEM_cert_to_DER_cert(public) in (told.access / AUTHORITIES).read_bytes()
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(SluiceError, match="SLUICE_S3_CA"):
        make_access(lake, told)
