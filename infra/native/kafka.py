"""Apache Kafka in KRaft mode: broker and controller in one process."""

import base64
import secrets
import shutil
import subprocess
from pathlib import Path

from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from infra.native import probes
from infra.native.cache import cache_folder
from infra.native.components import components
from infra.native.config import ADMINISTRATOR, LOOPBACK, Stack
from infra.native.fetch import java_for_spark
from infra.native.java import class_archive
from infra.native.part import Part
from infra.private_files import write_private

LOGGING = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaServer
logger.server.level=INFO
"""


def kafka_part(stack: Stack) -> Part:
    etc = stack.folder("etc", "kafka")
    probe = probes.kafka(as_administrator(stack))
    return Part(
        name="kafka",
        command=(*_java(stack, etc, archive=True), "kafka.Kafka", str(etc / "server.properties")),
        ready=probe,
        healthy=probe,
        port=stack.ports["kafka"],
        url=stack.address("kafka"),
        memory=stack.memory["kafka"],
        prepare=lambda: _prepare(stack, etc),
        stop_limit=30,
    )


def _java(stack: Stack, etc: Path, archive: bool = False) -> tuple[str, ...]:
    jars = components()["kafka"].folder(cache_folder())
    runtime = java_for_spark(cache_folder())
    return (
        str(runtime.path),
        *(class_archive(runtime, jars / "kafka.jsa") if archive else ()),
        f"-Xmx{stack.memory['kafka']}",
        "-Xms128m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={etc / 'log4j2.properties'}",
        "-cp",
        f"{jars}/*",
    )


def properties(stack: Stack) -> dict[str, str]:
    """server.properties. Left at Kafka's defaults on purpose: flushing, and what an acknowledgement means."""
    broker, controller = stack.ports["kafka"], stack.ports["kafka_controller"]
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "listeners": f"CLIENT://{stack.bind}:{broker},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"CLIENT://{stack.address('kafka')}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        **_access(stack),
        "log.dirs": str(stack.folder("data", "kafka")),
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        # One node: nothing can be replicated.
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # A killed broker must wait until the registration of its predecessor has lapsed.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 << 20),
        "num.recovery.threads.per.data.dir": "2",
    }


def as_administrator(stack: Stack) -> LakeSettings:
    """How Kafka's administrator signs in, from this machine."""
    return LakeSettings.model_construct(
        kafka_bootstrap=stack.address("kafka"),
        kafka_security_protocol="SASL_SSL" if stack.way("kafka") else "SASL_PLAINTEXT",
        kafka_mechanism="PLAIN",
        kafka_user=ADMINISTRATOR,
        kafka_password=stack.password(ADMINISTRATOR),
        kafka_ca=stack.ca("kafka"),
    )


def _access(stack: Stack) -> dict[str, str]:
    """Who is let in: users by SCRAM, the administrator and the broker itself by a password that is written here."""
    password = stack.password(ADMINISTRATOR)
    module = "org.apache.kafka.common.security"
    plain = (
        f'{module}.plain.PlainLoginModule required username="{ADMINISTRATOR}" password="{password}" '
        f'user_{ADMINISTRATOR}="{password}";'
    )
    protocol = "SASL_SSL" if stack.way("kafka") else "SASL_PLAINTEXT"
    encryption = {
        "listener.name.client.ssl.keystore.type": "PEM",
        "listener.name.client.ssl.keystore.location": str(_keystore(stack)),
        "listener.name.client.ssl.truststore.type": "PEM",
        "listener.name.client.ssl.truststore.location": str(stack.ca("kafka")),
    }
    return {
        "listener.security.protocol.map": f"CLIENT:{protocol},CONTROLLER:SASL_PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.client.plain.sasl.jaas.config": plain,
        "listener.name.client.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": plain,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMINISTRATOR}",
        **(encryption if stack.way("kafka") else {}),
    }


def _keystore(stack: Stack) -> Path:
    return stack.folder("etc", "kafka", "broker.pem")


def _write_keystore(stack: Stack) -> None:
    """Key and certificates in the one file that Kafka wants. Raises SluiceError for a key in another notation than its own."""
    texts = {}
    for name in ("SLUICE_KAFKA_TLS_KEY", "SLUICE_KAFKA_TLS_CERTIFICATE"):
        try:
            texts[name] = Path(stack.tls[name]).read_text()
        except (OSError, UnicodeDecodeError) as failure:
            raise SluiceError(f"{name}={stack.tls[name]!r} cannot be read ({failure}): name a PEM file") from None
    if "-----BEGIN PRIVATE KEY-----" not in texts["SLUICE_KAFKA_TLS_KEY"]:
        raise SluiceError(
            f"SLUICE_KAFKA_TLS_KEY={stack.tls['SLUICE_KAFKA_TLS_KEY']!r} is no private key in PKCS#8 without a password: "
            "`openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW` makes one"
        )
    write_private(_keystore(stack), "\n".join(texts.values()))


def _prepare(stack: Stack, etc: Path) -> None:
    etc.mkdir(parents=True, exist_ok=True)
    if stack.way("kafka"):
        _write_keystore(stack)
    (etc / "log4j2.properties").write_text(LOGGING)
    lines = "".join(f"{name}={value}\n" for name, value in properties(stack).items())
    write_private(etc / "server.properties", lines)
    data = stack.folder("data", "kafka")
    if (data / "meta.properties").exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    # Another one each time: the stream job knows by it that offsets begin anew. An id that began with a hyphen would be an option.
    fresh = secrets.token_bytes(16)
    cluster = base64.urlsafe_b64encode(bytes((fresh[0] & 0x7F,)) + fresh[1:]).decode().rstrip("=")
    command = [
        *_java(stack, etc),
        "kafka.tools.StorageTool",
        "format",
        "-t",
        cluster,
        "-c",
        str(etc / "server.properties"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise SluiceError(f"Kafka's data folder could not be made: {reason[0]}")
