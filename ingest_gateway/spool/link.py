"""The gateway's own connection to Kafka, as a drain sees it."""

from collections.abc import Sequence

from ingest_gateway.broker import Broker
from ingest_gateway.produce import Producer
from ingest_gateway.records import Records


class Link:
    """Drained events share producer and batches with new ones."""

    def __init__(self, broker: Broker, producer: Producer) -> None:
        self._broker = broker
        self._producer = producer

    async def reachable(self) -> None:
        """Wait until the broker answers."""
        await self._broker.reachable()

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 where there is no such topic."""
        count = self._broker.partitions(topic)
        if not count:
            await self._broker.refresh()
            count = self._broker.partitions(topic)
        return count

    async def write(self, topic: str, partitions: Sequence[int], records: Records) -> object:
        """Return after acknowledgement by all in-sync replicas. Raises NotAcknowledged."""
        return await self._producer.write(topic, partitions, records)
