"""The connection to Kafka: made, watched, and made anew when its state can no longer be trusted."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ingest_gateway.metrics import BROKER_UP
from ingest_gateway.record_batch import RecordBatch
from ingest_gateway.settings import GatewaySettings

State = Literal["connecting", "up", "away"]
log = structlog.get_logger("sluice.gateway.broker")

PROBE = 1.0  # seconds between two looks at the broker
PROBE_TIMEOUT = 3.0
BACKOFF = (0.2, 0.4, 0.8, 1.6, 2.0)  # seconds between attempts to connect


class Broker:
    """An idempotent, acks=all producer that exists only while it can be trusted.

    The gateway starts without a broker and recovers by itself. A producer one of whose batches failed or timed out is given
    up for a new one: its sequence numbers may have a gap by then, after which the broker would refuse whatever follows.
    `tried` is false until the first attempt to connect has ended.
    """

    def __init__(self, bootstrap: str, settings: GatewaySettings) -> None:
        self._bootstrap = bootstrap
        self._settings = settings
        self._renew = asyncio.Event()
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._given_up: set[asyncio.Task[None]] = set()
        self.producer: AIOKafkaProducer | None = None
        self.state: State = "connecting"
        self.reason = "not connected yet"
        self.since = time.time()
        self.tried = False
        self.on_renew: Callable[[str], None] = lambda reason: None

    def start(self) -> None:
        """Begin to connect, in the background."""
        BROKER_UP.set(0)
        self._task = asyncio.create_task(self._run(), name="broker")

    async def stop(self) -> None:
        """Close the connection. Whatever is to be acknowledged must have been by now."""
        while self._task is not None and not self._task.done():
            # Again and again: a library that swallowed the cancellation would keep the gateway from ending.
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=0.5)
        if self.producer is not None:
            await _give_up(self.producer)
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=3)

    @property
    def up(self) -> bool:
        """Whether Kafka answered when it was last asked."""
        return self.state == "up"

    async def reachable(self) -> None:
        """Wait until Kafka answers."""
        await self._up.wait()

    def batch(self) -> RecordBatch:
        """An empty batch, as large and packed as the settings say."""
        return RecordBatch(self._settings.batch_bytes, self._settings.compression)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has by the newest metadata (at most a second old); 0 where it is unknown."""
        if self.producer is None:
            return 0
        return len(self.producer.client.cluster.partitions_for_topic(topic) or ())

    async def refresh(self) -> bool:
        """Ask Kafka for its topics now, for a stream whose topic has just been made. Returns whether it answered."""
        return self.producer is not None and (await _answers(self.producer))[0]

    def renew(self, reason: str) -> None:
        """Give the producer up. Batches under way have an unknown outcome from here on."""
        if not self._renew.is_set() and self.producer is not None:
            self._renew.set()
            log.warning("producer is given up for a new one", reason=reason)
            old, self.producer = self.producer, None
            self._become("connecting", reason)
            self.on_renew(reason)
            task = asyncio.create_task(_give_up(old))
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)

    async def _run(self) -> None:
        attempt = 0
        while True:
            self._renew.clear()
            try:
                self.producer = await self._connected()
            except (KafkaError, OSError, TimeoutError) as failure:
                self._become("away", _line(failure))
                await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._become("up", "")
            await self._watch(self.producer)

    async def _connected(self) -> AIOKafkaProducer:
        settings = self._settings
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id="sluice-gateway",
            acks="all",
            enable_idempotence=True,
            # Half of what a client waits: one unanswered request is tried again before its client gives up.
            request_timeout_ms=int(settings.produce_timeout * 500),
            retry_backoff_ms=50,
        )
        try:
            await asyncio.wait_for(producer.start(), settings.produce_timeout)
        except BaseException:
            await _give_up(producer)
            raise
        return producer

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Look at the broker each second until the producer is given up. Returns then."""
        while not self._renew.is_set():
            # Not wait_for: Python 3.11's loses a cancellation that comes at the moment in which the wait ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE):
                    await self._renew.wait()
                return
            answered, reason = await _answers(producer)
            if self._renew.is_set():
                return
            self._become("up" if answered else "away", reason)

    def _become(self, state: State, reason: str) -> None:
        if state != self.state:
            log.log(20 if state == "up" else 40, "broker is " + state, bootstrap=self._bootstrap, reason=reason)
            self.since = time.time()
        self.state, self.reason = state, reason
        self.tried = True
        BROKER_UP.set(state == "up")
        if state == "up":
            self._up.set()
        else:
            self._up.clear()


async def _answers(producer: AIOKafkaProducer) -> tuple[bool, str]:
    # Metadata of all topics: to name them would make the broker create those that are missing.
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            ok = await asyncio.shield(producer.client.force_metadata_update())
    except TimeoutError:
        return False, f"Kafka did not answer within {PROBE_TIMEOUT:g} s"
    except KafkaError as failure:
        return False, _line(failure)
    return bool(ok), "" if ok else "no broker answers"


async def _give_up(producer: AIOKafkaProducer) -> None:
    """Close without waiting for what is unsent: `stop()` of an idempotent producer waits for a broker that may never return."""
    producer._closed = True
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.client.close(), 1.0)
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(producer._sender.close(), 1.0)


def _line(failure: BaseException) -> str:
    text: Any = str(failure) or type(failure).__name__
    return str(text).splitlines()[0][:300]
