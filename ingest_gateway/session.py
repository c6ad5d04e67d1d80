"""A connection to a Kafka cluster under a producer id of its own: what makes a resend of a record batch harmless.

The client library connects, signs in and keeps the metadata. Its producer is not used: it spends more time on a request than the
gateway does on what is in it.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, NodeNotReadyError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition

from catalog import kafka_client
from catalog.settings import LakeSettings
from ingest_gateway.settings import GatewaySettings

ALL_IN_SYNC = -1  # `acks`
RETRY = 0.05  # seconds before Kafka is asked again
_SEQUENCES = 1 << 31  # after the last one comes 0

Place = tuple[str, int]  # topic and partition


class Answer(NamedTuple):
    """What Kafka says of a partition's batch: its error code, 0 for none, and the offset of the first record."""

    place: Place
    code: int
    offset: int


class Session:
    """Open until it is closed; after a batch of unknown fate it is of no more use, for its sequence numbers may have a gap."""

    def __init__(self, client: AIOKafkaClient, timeout: float, producer_id: int, epoch: int) -> None:
        self._client = client
        self._timeout_ms = int(timeout * 1000)
        self._producer = (producer_id, epoch)
        self._sequences: dict[Place, int] = {}

    @classmethod
    async def open(cls, lake: LakeSettings, settings: GatewaySettings) -> "Session":
        """Raises KafkaError, OSError or TimeoutError."""
        # Half of what a client waits: one unanswered request is tried again before its client gives up.
        timeout = settings.produce_timeout / 2
        client = kafka_client.client(
            lake,
            client_id="sluice-gateway",
            request_timeout_ms=int(timeout * 1000),
            retry_backoff_ms=int(RETRY * 1000),
        )
        try:
            async with asyncio.timeout(settings.produce_timeout):
                await kafka_client.started(lake, client.bootstrap)
                return cls(client, timeout, *await _producer_id(client))
        except BaseException:
            await _close(client)
            raise

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has by the newest metadata; 0 where it is unknown."""
        return len(self._client.cluster.partitions_for_topic(topic) or ())

    def topics(self) -> set[str]:
        """Those that the newest metadata names. Kafka leaves out for a moment what is about to change its leader."""
        return set(self._client.cluster.topics())

    def leader(self, place: Place) -> int | None:
        """The node to which a partition's batches go, where there is one now."""
        node: int | None = self._client.cluster.leader_for_partition(TopicPartition(*place))
        return None if node is None or node < 0 else node

    async def refresh(self) -> bool:
        """Ask for the metadata of all topics: to name them would make the broker create those that are missing."""
        return bool(await asyncio.shield(self._client.force_metadata_update()))

    def mistrust(self) -> None:
        """The metadata is not true any more: have it asked for, and don't wait."""
        self._client.force_metadata_update()

    def state(self, place: Place) -> tuple[int, int, int]:
        """Producer id, epoch and sequence number of a partition's next batch."""
        return *self._producer, self._sequences.get(place, 0)

    def advance(self, place: Place, records: int) -> None:
        """Kafka has a partition's next batch, of so many records."""
        self._sequences[place] = (self._sequences.get(place, 0) + records) % _SEQUENCES

    async def produce(self, node: int, batches: Mapping[Place, bytearray]) -> list[Answer]:
        """Write batches, one a partition, on all in-sync replicas. Raises KafkaError."""
        topics: dict[str, list[tuple[int, bytearray]]] = {}
        for (topic, partition), batch in batches.items():
            topics.setdefault(topic, []).append((partition, batch))
        request = ProduceRequest(None, ALL_IN_SYNC, self._timeout_ms, list(topics.items()))
        answer = await self._client.send(node, request)
        return [
            Answer((topic, said[0]), said[1], said[2]) for topic, partitions in answer.topics for said in partitions
        ]

    async def close(self) -> None:
        """Close without waiting for a broker that may never answer."""
        await _close(self._client)


async def _producer_id(client: AIOKafkaClient) -> tuple[int, int]:
    while True:
        try:
            node = client.get_random_node()
            if node is None:
                raise NodeNotReadyError("no broker is known")
            answer = await client.send(node, InitProducerIdRequest(None, 60_000))
            error = for_code(answer.error_code)
            if not answer.error_code:
                return answer.producer_id, answer.producer_epoch
            raise error()
        except KafkaError as failure:
            if not failure.retriable:
                raise
        await asyncio.sleep(RETRY)


async def _close(client: AIOKafkaClient) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), 1.0)
