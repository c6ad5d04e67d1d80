"""Kafka's clients are made in one place, and are told what the settings say."""

import ast
import re
import ssl
from pathlib import Path

import pytest

from catalog import kafka_client
from catalog.errors import SluiceError
from catalog.settings import LakeSettings, read_settings
from tests.stack import CHECKOUT

CLIENTS = {"AIOKafkaClient", "AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "create_conn"}
HOME = CHECKOUT / "catalog" / "kafka_client.py"


def makers(source: str) -> list[str]:
    """What makes a client in some source: aiokafka's by its call, Spark's by the option that names the broker."""
    tree = ast.parse(source)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [
        call.id if isinstance(call, ast.Name) else call.attr
        for call in calls
        if isinstance(call, ast.Name | ast.Attribute)
    ]
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [name for name in names if name in CLIENTS] + [word for word in words if word == "kafka.bootstrap.servers"]


def test_every_client_of_kafka_is_made_in_one_place() -> None:
    sources = [path for path in CHECKOUT.rglob("*.py") if not path.relative_to(CHECKOUT).parts[0].startswith(".")]
    assert len(sources) > 400
    found = {
        str(path.relative_to(CHECKOUT)): made for path in sources if path != HOME if (made := makers(path.read_text()))
    }
    assert found == {"tests/unit/test_kafka_client.py": ["kafka.bootstrap.servers"] * 4}
    assert set(makers(HOME.read_text())) == {*CLIENTS, "kafka.bootstrap.servers"}


def settings(monkeypatch: pytest.MonkeyPatch, **values: object) -> LakeSettings:
    for name, value in values.items():
        monkeypatch.setenv(f"SLUICE_KAFKA_{name.upper()}", str(value))
    return read_settings(LakeSettings)


def test_without_settings_nobody_signs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    lake = settings(monkeypatch)
    assert kafka_client.options(lake) == {"bootstrap_servers": "127.0.0.1:9092", "security_protocol": "PLAINTEXT"}
    assert kafka_client.spark_options(lake) == {
        "kafka.bootstrap.servers": "127.0.0.1:9092",
        "kafka.security.protocol": "PLAINTEXT",
    }


def test_an_account_reaches_both_kinds_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    lake = settings(monkeypatch, security_protocol="SASL_PLAINTEXT", user="stream", password='a"b\\c')
    options = kafka_client.options(lake)
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("stream", 'a"b\\c')
    assert "ssl_context" not in options
    spark = kafka_client.spark_options(lake)
    assert spark["kafka.sasl.jaas.config"].endswith(
        'ScramLoginModule required username="stream" password="a\\"b\\\\c";'
    )


def test_encryption_checks_the_certificate_and_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    context = kafka_client.options(settings(monkeypatch, security_protocol="SSL"))["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"security_protocol": "TLS"}, "SLUICE_KAFKA_SECURITY_PROTOCOL='TLS'"),
        ({"mechanism": "GSSAPI"}, "SLUICE_KAFKA_MECHANISM='GSSAPI'"),
        ({"user": "stream"}, "SLUICE_KAFKA_USER=stream would not be used by SLUICE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"ca": "/ca.pem"}, "SLUICE_KAFKA_CA=/ca.pem would not be used by SLUICE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
    ],
)
def test_settings_that_can_not_work_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], told: str
) -> None:
    monkeypatch.setenv("SLUICE_KAFKA_PASSWORD", "secret-word")
    with pytest.raises(SluiceError, match=re.escape(told)) as failure:
        settings(monkeypatch, **values)
    assert "secret-word" not in str(failure.value)


def test_an_account_that_is_asked_for_and_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lake = settings(monkeypatch, security_protocol="SASL_SSL", user="stream")
    for told in (kafka_client.options, kafka_client.spark_options):
        with pytest.raises(SluiceError, match="set SLUICE_KAFKA_USER and SLUICE_KAFKA_PASSWORD"):
            told(lake)


def test_an_authority_that_can_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    lake = settings(monkeypatch, security_protocol="SSL", ca=file)
    for text in (None, "no certificate"):
        if text is not None:
            file.write_text(text)
        for told in (kafka_client.options, kafka_client.spark_options):
            with pytest.raises(SluiceError, match=f"SLUICE_KAFKA_CA='{file}': .*name a file of certificates"):
                told(lake)
