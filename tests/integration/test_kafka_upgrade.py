"""Kafka's data of a time before it had users, and the way to it encrypted: both are a matter of the next start."""

import asyncio
import datetime
import ipaddress
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from catalog import kafka_client
from catalog.settings import LakeSettings
from infra.demo.generate import users
from infra.native import config
from infra.native.cache import cache_folder
from infra.native.fetch import fetch
from infra.native.kafka import _java, _prepare, properties
from tests.stack import WAIT, Stack, ending_with_us, eventually, patient

pytestmark = pytest.mark.stack


@contextmanager
def kafka_without_users(stack: config.Stack) -> Iterator[LakeSettings]:
    """As the first versions started it."""
    etc = stack.folder("etc", "kafka")
    _prepare(stack, etc)
    old = {name: value for name, value in properties(stack).items() if "sasl" not in name and "authorizer" not in name}
    old |= {"listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT"}
    (etc / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in old.items()))
    command = ending_with_us([*_java(stack, etc), "kafka.Kafka", str(etc / "server.properties")], "TERM")
    lake = LakeSettings.model_construct(kafka_bootstrap=stack.address("kafka"))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            eventually(lambda: answers(lake), 60, "Kafka")
            yield lake
        finally:
            process.terminate()
            process.wait(patient(60))


def answers(lake: LakeSettings) -> bool:
    async def ask() -> bool:
        async with kafka_client.admin(lake) as admin:
            return bool((await admin.describe_cluster())["brokers"])

    try:
        return asyncio.run(ask())
    except KafkaError:
        return False


async def write(lake: LakeSettings) -> None:
    async with kafka_client.admin(lake) as admin:
        await admin.create_topics([NewTopic("kept", 1, 1)])
    async with kafka_client.producer(lake, acks="all") as producer:
        await producer.send_and_wait("kept", b"of before")


async def read(lake: LakeSettings) -> bytes:
    async with kafka_client.consumer(lake, "kept", auto_offset_reset="earliest") as consumer:
        value: bytes = (await consumer.getone()).value
        return value


def test_data_of_a_time_before_users_is_there_and_is_guarded(fresh: Stack) -> None:
    fetch({"kafka"}, cache_folder())
    chosen = config.choose(fresh.state, {}, base=fresh.port_base)
    config.save(chosen)
    with kafka_without_users(chosen) as lake:
        asyncio.run(write(lake))
    fresh.up("kafka")
    assert asyncio.run(asyncio.wait_for(read(fresh.lake("stream")), patient(60))) == b"of before"
    with pytest.raises(kafka_client.RefusedError, match="may want a user"):
        asyncio.run(read(lake))


def certificate(folder: Path) -> dict[str, str]:
    """An authority, and a certificate of 127.0.0.1 that it signed; the variables that name them."""
    now = datetime.datetime.now(datetime.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def signed(name: str, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named("authority"))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=1)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256())

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    texts = {
        "SLUICE_KAFKA_CA": signed("authority", authority, x509.BasicConstraints(True, None)),
        "SLUICE_KAFKA_TLS_CERTIFICATE": signed("kafka", own, address),
    }
    files = {name: folder / f"{name}.pem" for name in config.TLS}
    for name, one in texts.items():
        files[name].write_bytes(one.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files["SLUICE_KAFKA_TLS_KEY"].write_bytes(own.private_bytes(serialization.Encoding.PEM, pem, plain))
    return {name: str(file) for name, file in files.items()}


def test_the_whole_way_to_kafka_is_encrypted_by_setting(folder: Path, fresh: Stack) -> None:
    fresh.settings = certificate(folder)
    fresh.settings |= {name.replace("KAFKA", "GATEWAY"): file for name, file in fresh.settings.items()}
    fresh.up("postgres", "minio", "kafka", "gateway", "stream")
    lake = fresh.lake()
    assert lake.kafka_security_protocol == "SASL_SSL"
    assert lake.gateway_url.startswith("https://")
    fresh.sluice("send", "-", "--stream", "users", stdin=json.dumps(next(iter(users(1)))))
    reports = json.loads(fresh.sluice("verify", "--wait", WAIT, "--json"))
    assert {report["stream"]: report["totals"]["silver"] for report in reports if report["ok"]}["users"] == 1
    told: dict[str, dict[str, object]] = {
        "certificate that is not trusted": {"kafka_ca": None},
        "may want encryption": {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ca": None},
        "wrong password": {"kafka_password": "not-it"},
    }
    for words, change in told.items():
        reason = asyncio.run(kafka_client.refusal(lake.model_copy(update=change)))
        assert words in str(reason)
    assert asyncio.run(kafka_client.refusal(lake)) is None
