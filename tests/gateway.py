"""A gateway process of its own for tests, beside a stack's Kafka: its limits can be set and its end be watched."""

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from catalog import kafka_client
from catalog.contract import SUFFIX
from catalog.settings import LakeSettings
from ingest_gateway.api_keys import changing, new_key
from tests.stack import Stack, ending_with_us, eventually, free_port, patient

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: {name}
name: {name}
version: 2.0.0
status: active
schema:
  - name: {name}
    properties:
      - {{name: sensor, logicalType: string, required: true, primaryKey: {keyed}}}
      - {{name: value, logicalType: integer, required: true}}
"""
LINES = {"content-type": "application/x-ndjson"}
SLOWEST = 120.0  # seconds for an answer, from a gateway that has to share its machine


@dataclass(frozen=True)
class Record:
    """What Kafka holds."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]


class Keys:
    """A gateway's file of API keys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, *scopes: str) -> tuple[str, dict[str, str]]:
        """A new key's id, and the header that carries it."""
        key, text = new_key("somebody", scopes, None)
        with changing(self.path) as known:
            known.append(key)
        return key.id, {"authorization": f"Bearer {text}"}

    def revoke(self, key_id: str) -> None:
        with changing(self.path) as known:
            known[:] = [key for key in known if key.id != key_id]


@dataclass
class Gateway:
    """A gateway process of its own beside the stack's, so that its limits can be set and its end be watched."""

    process: subprocess.Popen[bytes]
    url: str
    lake: LakeSettings  # as an operator finds it
    contracts: Path
    log: Path
    operator: Mapping[str, str] = field(default_factory=dict)  # headers of one who may see all
    workers: int = 1

    def post(self, stream: str, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        kind = {"content-type": "application/json"}
        address = f"{self.url}/v1/streams/{stream}/events"
        return httpx.post(address, content=content, headers=kind | (headers or {}), timeout=SLOWEST)

    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/readyz", headers=self.operator, timeout=SLOWEST).json()
        return found

    def metrics(self) -> str:
        """All series, as Prometheus reads them."""
        return httpx.get(f"{self.url}/metrics", headers=self.operator, timeout=SLOWEST).text

    def metric(self, series: str) -> float:
        """The value of one series, 0 if it is not there yet: `name{label="…"}`."""
        lines = self.metrics().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == series), 0.0)

    def await_status(self, status: str, limit: float = 60) -> None:
        eventually(lambda: self.ready()["status"] == status, limit, f"gateway {status}")

    def stream(self, name: str, keyed: bool = True, topic: bool = True, more: str = "") -> str:
        """A stream of its own for a test: its topic, then its contract, while the gateway runs. `more`: of its schema.

        The name gets a random end, so that a test can run again on a stack that was kept.
        """
        name = f"{name}_{secrets.token_hex(3)}"
        if topic:
            self.make_topic(name)
        (self.contracts / f"{name}{SUFFIX}").write_text(CONTRACT.format(name=name, keyed=str(keyed).lower()) + more)
        asked = 1 if self.workers == 1 else 8 * self.workers  # a worker of several is not chosen, it is met
        eventually(lambda: all(name in self.ready()["contracts"]["served"] for _ in range(asked)), 20, f"{name} served")
        return name

    def make_topic(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        async def make() -> None:
            async with kafka_client.admin(self.lake) as admin:
                await admin.create_topics([NewTopic(name, 3, 1, topic_configs=settings)])

        asyncio.run(make())

    def widen(self, name: str, most: str) -> None:
        """Let a topic take records of so many bytes."""

        async def alter() -> None:
            change = {"max.message.bytes": most}
            async with kafka_client.admin(self.lake) as admin:
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=change)])

        asyncio.run(alter())

    def records(self, name: str) -> list[Record]:
        """All records of a topic, by partition and offset."""

        async def read() -> list[Record]:
            async with kafka_client.consumer(self.lake) as consumer:
                places = [TopicPartition(name, partition) for partition in range(3)]
                consumer.assign(places)
                await consumer.seek_to_beginning()
                ends = await consumer.end_offsets(places)
                found: list[Record] = []
                deadline = time.monotonic() + patient(60)
                while any([await consumer.position(place) < end for place, end in ends.items()]):
                    assert time.monotonic() < deadline, f"{name} could not be read to its end"
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        found += [Record(r.partition, r.offset, r.key, r.value, dict(r.headers)) for r in batch]
                return sorted(found, key=lambda r: (r.partition, r.offset))

        return asyncio.run(read())


@contextlib.contextmanager
def running_gateway(
    stack: Stack,
    contracts: Path,
    keys: Keys | None = None,
    status: str = "ready",
    wrap: Sequence[str] = (),
    bootstrap: str | None = None,
    **settings: str,
) -> Iterator[Gateway]:
    """With settings of the gateway's own; without a spool, unless they say so. Waits for a `status`.

    With `keys` it gets their file, and the test a key that may see all. `wrap` is a command that runs the gateway's.
    `bootstrap` is where the gateway looks for Kafka, if that is not where the test does.
    A setting `kafka_…` is one of its account there.
    """
    port = settings.get("port") or str(free_port())
    lake = stack.env()
    account = stack.lake("gateway")
    operator: dict[str, str] = {}
    if keys is not None:
        settings["keys"], (_, operator) = str(keys.path), keys.add("read:*")
    chosen = {
        "kafka_bootstrap": bootstrap or account.kafka_bootstrap, "kafka_user": account.kafka_user,
        "kafka_password": account.kafka_password, "gateway_spool": "",  # not the stack's own
        "gateway_contract_poll": "0.1", "contracts": str(contracts),
        **{name if name.startswith("kafka_") else f"gateway_{name}": value for name, value in settings.items()},
        "gateway_host": "127.0.0.1", "gateway_port": port,
    }  # fmt: skip
    environ = {**os.environ, **lake, **{f"SLUICE_{name.upper()}": value for name, value in chosen.items()}}
    with tempfile.NamedTemporaryFile(prefix="sluice-gateway-", suffix=".log") as log:
        command = ending_with_us([*wrap, sys.executable, "-m", "ingest_gateway"], "TERM")
        process = subprocess.Popen(command, env=environ, stderr=log)
        gateway = Gateway(
            process, f"http://127.0.0.1:{port}", stack.lake(), contracts, Path(log.name), operator,
            int(settings.get("workers", 1)),
        )  # fmt: skip
        try:
            eventually(lambda: _answers(gateway), 60, "gateway started")
            gateway.await_status(status)
            yield gateway
        finally:
            process.terminate()
            process.wait(patient(60))


def _answers(gateway: Gateway) -> bool:
    try:
        return httpx.get(f"{gateway.url}/healthz", timeout=SLOWEST).status_code == 200
    except httpx.TransportError:
        return False


def reading(sensor: str, value: int) -> bytes:
    return b'{ "sensor":%b,\t"value": %d }' % (json.dumps(sensor).encode(), value)
