"""Apache Kafka in KRaft mode: broker and controller in one process."""

import base64
import secrets
import shutil
import subprocess
from pathlib import Path

from catalog.errors import SluiceError
from infra.native import probes
from infra.native.cache import cache_folder
from infra.native.components import components
from infra.native.config import LOOPBACK, Stack
from infra.native.fetch import java_for_spark
from infra.native.java import class_archive
from infra.native.part import Part

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
    probe = probes.kafka(stack.host, stack.ports["kafka"])
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
        "listeners": f"PLAINTEXT://{stack.bind}:{broker},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{stack.address('kafka')}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
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


def _prepare(stack: Stack, etc: Path) -> None:
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "log4j2.properties").write_text(LOGGING)
    (etc / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in properties(stack).items()))
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
