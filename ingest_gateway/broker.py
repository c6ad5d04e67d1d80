"""The connection to Kafka: made, watched, and made anew when its state can no longer be trusted."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from math import inf
from typing import Literal

import structlog
from aiokafka.errors import KafkaError

from catalog import kafka_client
from catalog.errors import first_line
from catalog.settings import LakeSettings
from ingest_gateway.metrics import BROKER_UP
from ingest_gateway.record_batch import RecordBatch
from ingest_gateway.session import Session
from ingest_gateway.settings import GatewaySettings

State = Literal["connecting", "up", "away"]
log = structlog.get_logger("sluice.gateway.broker")

PROBE = 1.0  # seconds between two looks at the broker
PROBE_TIMEOUT = 3.0
MISSED = 15.0  # seconds in which a topic that Kafka does not name is taken to come back
LONGEST = 300  # characters of a reason
BACKOFF = (0.2, 0.4, 0.8, 1.6, 2.0)  # seconds between attempts to connect


class Broker:
    """A session that exists only while it can be trusted.

    The gateway starts without a broker and recovers by itself. A session in which the fate of a batch is unknown is given
    up for a new one: its sequence numbers may have a gap by then, after which the broker would refuse whatever follows.
    `tried` is false until the first attempt to connect has ended. Raises SluiceError where the settings lack an account.
    """

    def __init__(self, lake: LakeSettings, settings: GatewaySettings) -> None:
        kafka_client.options(lake)  # what can't work stops the start
        self._lake = lake
        self._settings = settings
        self._renew = asyncio.Event()
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._given_up: set[asyncio.Task[None]] = set()
        self._named: dict[str, float] = {}  # topic → when Kafka last named it
        self.session: Session | None = None
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
        if self.session is not None:
            await self.session.close()
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
        return 0 if self.session is None else self.session.partitions(topic)

    def had(self, topic: str) -> bool:
        """Whether Kafka named the topic a moment ago, so that it is hardly gone for good."""
        return time.monotonic() - self._named.get(topic, -inf) < MISSED

    async def refresh(self) -> bool:
        """Ask Kafka for its topics now, for a stream whose topic has just been made. Returns whether it answered."""
        return self.session is not None and (await _answers(self.session))[0]

    def renew(self, reason: str) -> None:
        """Give the session up. Batches under way have an unknown outcome from here on."""
        if not self._renew.is_set() and self.session is not None:
            self._renew.set()
            log.warning("session is given up for a new one", reason=reason)
            old, self.session = self.session, None
            self._become("connecting", reason)
            self.on_renew(reason)
            task = asyncio.create_task(old.close())
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)

    async def _run(self) -> None:
        attempt = 0
        while True:
            self._renew.clear()
            try:
                self.session = await Session.open(self._lake, self._settings)
            except (KafkaError, OSError, TimeoutError) as failure:
                self._become("away", first_line(failure)[:LONGEST])
                await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
                attempt += 1
                continue
            attempt = 0
            self._become("up", "")
            await self._watch(self.session)

    async def _watch(self, session: Session) -> None:
        """Look at the broker each second until the session is given up. Returns then."""
        while not self._renew.is_set():
            # Not wait_for: Python 3.11's loses a cancellation that comes at the moment in which the wait ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE):
                    await self._renew.wait()
                return
            answered, reason = await _answers(session)
            if self._renew.is_set():
                return
            if answered:
                self._named.update(dict.fromkeys(session.topics(), time.monotonic()))
            self._become("up" if answered else "away", reason)

    def _become(self, state: State, reason: str) -> None:
        if state != self.state:
            log.log(
                20 if state == "up" else 40, "broker is " + state, bootstrap=self._lake.kafka_bootstrap, reason=reason
            )
            self.since = time.time()
        self.state, self.reason = state, reason
        self.tried = True
        BROKER_UP.set(state == "up")
        if state == "up":
            self._up.set()
        else:
            self._up.clear()


async def _answers(session: Session) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            ok = await session.refresh()
    except TimeoutError:
        return False, f"Kafka did not answer within {PROBE_TIMEOUT:g} s"
    except KafkaError as failure:
        return False, first_line(failure)[:LONGEST]
    return ok, "" if ok else "no broker answers"
