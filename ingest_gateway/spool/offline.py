"""A spool's folder without its gateway: what is in it, its events as CloudEvents, and the way to Kafka."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import orjson

from catalog.errors import SluiceError
from catalog.names import H_CONTRACT_VERSION, H_ID, H_PRODUCER, H_TIME
from catalog.settings import LakeSettings
from ingest_gateway.broker import Broker
from ingest_gateway.produce import Producer
from ingest_gateway.records import Header
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.spool import entries, folders, segments
from ingest_gateway.spool.link import Link
from ingest_gateway.spool.segments import ASIDE, DAMAGED, SUFFIX
from ingest_gateway.spool.spool import Spool

EVENT_TIME = "ce_eventtime"  # the sender's `time`, as the gateway keeps it
OURS = {H_ID, H_TIME, H_CONTRACT_VERSION, H_PRODUCER}  # a gateway that takes the event again sets them anew


@dataclass(frozen=True)
class Listed:
    """A segment file. `lost_bytes` can't be read, `torn_bytes` were never acknowledged, `pid` is the process that uses it."""

    path: Path
    stream: str
    events: int
    bytes: int
    oldest: float | None  # seconds since 1970
    lost_bytes: int
    torn_bytes: int
    pid: str | None

    @property
    def drained(self) -> bool:
        """Whether it is only kept because a part of it can't be read."""
        return self.path.name.endswith(DAMAGED)

    @property
    def aside(self) -> bool:
        """Whether Kafka refuses its events for good."""
        return self.path.name.endswith(ASIDE)


def listed(root: Path) -> Iterator[Listed]:
    """Every segment below a spool's folder, by process, stream and age. Raises SluiceError where there is no such folder."""
    if not root.is_dir():
        raise SluiceError(f"{root} is not a folder: name the spool's with --folder or SLUICE_GATEWAY_SPOOL")
    for slot in folders.slots(root):
        pid = folders.user(slot)
        for path in sorted(slot.glob(f"*/*{SUFFIX}*")):
            with suppress(FileNotFoundError):  # it was drained meanwhile
                found, content = segments.recovered(path)
                oldest = found.oldest_ms / 1000 if found.events else None
                yield Listed(
                    path, path.parent.name, found.events, found.bytes, oldest, content.damaged, content.torn, pid
                )  # fmt: skip


def exported(root: Path, stream: str) -> Iterator[bytes]:
    """The stream's events as lines of CloudEvents, which the gateway takes as `application/cloudevents+ndjson`: same ids.

    Those in damaged files are among them, even where they were drained. Raises SluiceError where one can't be decoded.
    """
    for file in listed(root):
        if file.stream != stream:
            continue
        for frame in segments.content(file.path).frames:
            try:
                entry = entries.decode(frame.body)
            except msgspec.DecodeError:
                raise SluiceError(f"{file.path}: written by another version of Sluice; use that one") from None
            for index, (event_id, payload) in enumerate(zip(entry.ids, entry.payloads, strict=True)):
                headers = entry.headers if entry.own_headers is None else entry.own_headers[index]
                yield _cloud_event(event_id, payload, headers)


def _cloud_event(event_id: bytes, payload: bytes, headers: list[Header]) -> bytes:
    event: dict[str, object] = {"id": event_id.decode()}
    for name, value in headers:
        if name.startswith("ce_") and name not in OURS:
            event["time" if name == EVENT_TIME else name.removeprefix("ce_")] = value.decode("utf-8", "replace")
    try:
        orjson.loads(payload)
        event["data"] = orjson.Fragment(payload.replace(b"\n", b" ").replace(b"\r", b" "))
    except orjson.JSONDecodeError:
        event["data_base64"] = base64.b64encode(payload).decode()
    return orjson.dumps(event) + b"\n"


async def drain(
    root: Path, lake: LakeSettings, settings: GatewaySettings, patience: float, on_progress: Callable[[int], None]
) -> dict[str, str]:
    """Send everything to Kafka. Returns why streams are left over, by stream: none moved for `patience` seconds.

    `on_progress` is told how many events are left. Raises SluiceError while a gateway uses the folder.
    """
    for slot in folders.slots(root):
        if (pid := folders.user(slot)) is not None:
            raise SluiceError(
                f"Process {pid} uses {slot}: a gateway that runs drains by itself. `sluice spool list` shows how far it is"
            )
    for slot in folders.slots(root):
        segments.put_back(slot)
    broker = Broker(lake, settings)
    link = Link(broker, Producer(broker, settings.produce_timeout))
    spool = Spool(root, limit=1 << 62, drain_bytes=1 << 40, timeout=settings.produce_timeout, kafka=link)
    await spool.start()
    broker.start()
    try:
        await _emptied(spool, patience, on_progress)
        reason = f"Kafka at {lake.kafka_bootstrap} is {broker.state}: {broker.reason}"
        left = {name: held.stuck or reason for name, held in spool.held().items()}
        return {name: _refused(events) for name, events in folders.Aside(root).events().items()} | left
    finally:
        await spool.close()
        await broker.stop()


def _refused(events: int) -> str:
    return f"{events} events are set aside, Kafka refuses them; raise the topic's max.message.bytes and drain again, or export them"


async def _emptied(spool: Spool, patience: float, on_progress: Callable[[int], None]) -> None:
    """Return when nothing is left, or nothing moved for `patience` seconds."""
    loop = asyncio.get_running_loop()
    least, since = -1, loop.time()
    while held := spool.held():
        left = sum(stream.events for stream in held.values())
        if left != least:
            least, since = left, loop.time()
            on_progress(left)
        if loop.time() - since > patience:
            return
        await asyncio.sleep(0.05)
    on_progress(0)
