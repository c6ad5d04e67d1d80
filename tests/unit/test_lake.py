"""The lake's catalog, without a server."""

from catalog.lake import jdbc_uri, open_catalog
from catalog.settings import LakeSettings, read_settings


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
