"""The lake's catalog, without a server."""

from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from catalog.errors import SluiceError
from catalog.lake import database_refusal, jdbc_uri, open_catalog, sqlalchemy_uri
from catalog.settings import LakeSettings, read_settings

# Each breaks the address in a way of its own, for Python's parser or for libpq's.
AWKWARD = [
    "ab#s3cr3t",
    "ab?s3cr3t",
    "ab/s3cr3t",
    "12/s3cr3t",
    "12?s3cr3t",
    "ab@s3cr3t",
    "ab%s3cr3t",
    "ab[s3cr3t",
    "℀s3cr3t",
]


def test_who_opens_the_catalog_again_and_again_has_its_connections_once() -> None:
    settings = read_settings(LakeSettings)
    assert open_catalog(settings.model_copy()) is open_catalog(settings)
    other = settings.model_copy(update={"catalog_uri": "postgresql://sluice@127.0.0.1:1/other"})
    assert open_catalog(other) is not open_catalog(settings)


def test_what_the_address_says_of_encryption_and_the_password_reach_java_too() -> None:
    """Java's driver would otherwise neither demand TLS nor check who answers, where Python's does."""
    uri = (
        "postgresql://st%40ff:p%2Fw@db.example:6432/lake?sslmode=verify-full&sslrootcert=/etc/ca.crt&application_name=x"
    )
    address = "jdbc:postgresql://db.example:6432/lake?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.crt"
    assert jdbc_uri(uri) == (address, "st@ff", "p/w")
    assert jdbc_uri("postgresql://a@h/lake") == ("jdbc:postgresql://h:5432/lake", "a", "")


@pytest.mark.parametrize("password", AWKWARD)
def test_an_address_that_the_password_breaks_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("SLUICE_CATALOG_URI", f"postgresql://sluice:{password}@db.example:5432/lake")
    with pytest.raises(SluiceError) as refused:
        read_settings(LakeSettings)
    text = str(refused.value)
    assert text.startswith("A setting can't work: SLUICE_CATALOG_URI")
    assert "percent-encoded" in text
    assert "s3cr3t" not in text
    assert password not in text


@pytest.mark.parametrize("password", [*AWKWARD, "a:b", "p@ss w/rd%20"])
def test_once_encoded_it_is_what_it_was(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv(
        "SLUICE_CATALOG_URI", f"postgresql://sluice:{quote(password, safe='')}@db.example/lake?sslmode=require"
    )
    settings = read_settings(LakeSettings)
    assert jdbc_uri(settings.catalog_uri)[2] == password
    assert make_url(sqlalchemy_uri(settings.catalog_uri)).password == password
    assert conninfo_to_dict(settings.catalog_uri)["password"] == password


@pytest.mark.parametrize("uri", ["mysql://u:s3cr3t@h/lake", "postgresql:///lake", "postgresql://u:s3cr3t@h", "s3cr3t"])
def test_what_is_no_address_of_a_database_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("SLUICE_CATALOG_URI", uri)
    with pytest.raises(SluiceError, match="expected postgresql://") as refused:
        read_settings(LakeSettings)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("password", AWKWARD)
def test_an_address_that_nobody_checked_is_not_shown_either(password: str) -> None:
    """SLUICE_ADMIN_CATALOG_URI, say."""
    quoting = psycopg.OperationalError(f"failed to resolve host {password}@db.example")
    told = database_refusal(f"postgresql://sluice:{password}@db.example/lake", quoting)
    assert "percent-encoded" in told
    assert "s3cr3t" not in told


def test_nobody_prints_a_secret_with_the_settings() -> None:
    secrets = {"catalog_uri": "postgresql://u:s3cr3t@h/lake", "kafka_password": "s3cr3t", "s3_secret_key": "s3cr3t"}
    assert "s3cr3t" not in repr(LakeSettings.model_validate(secrets | {"trino_password": "s3cr3t"}))


def test_a_setting_that_is_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TOPIC_PARTITIONS", "many")
    with pytest.raises(SluiceError, match="SLUICE_TOPIC_PARTITIONS='many'"):
        read_settings(LakeSettings)
