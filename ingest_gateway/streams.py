"""The streams that are served, and their reloading: a new or changed contract file counts without a restart."""

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from catalog.contract import SUFFIX, Stream
from catalog.errors import SluiceError
from catalog.names import H_CONTENT_TYPE, H_CONTRACT_VERSION, H_SOURCE, H_SPEC_VERSION, H_TYPE, topic
from catalog.odcs import load_contract
from ingest_gateway.check import Checker
from ingest_gateway.keys import KeyOf, key_of
from ingest_gateway.records import Header

Fingerprint = tuple[int, int, int]  # modification time in ns, size, inode
log = structlog.get_logger("sluice.gateway.streams")


@dataclass(frozen=True)
class Served:
    """A stream, ready to be checked, keyed and sent."""

    stream: Stream
    topic: str
    checker: Checker
    key_of: KeyOf | None
    headers: tuple[Header, ...]  # of every record: CloudEvents' Kafka binding, binary mode

    @staticmethod
    def of(stream: Stream) -> "Served":
        """Compile what serving needs. Raises SluiceError where the schema cannot be checked."""
        return Served(
            stream=stream,
            topic=topic(stream.name),
            checker=Checker(stream),
            key_of=key_of(stream),
            headers=(
                (H_CONTENT_TYPE, b"application/json"),
                (H_SPEC_VERSION, b"1.0"),
                (H_SOURCE, f"/v1/streams/{stream.name}".encode()),
                (H_TYPE, stream.name.encode()),
                (H_CONTRACT_VERSION, stream.version.encode()),
            ),
        )


class Streams:
    """All contracts of a folder. A broken file is remembered with its reason; what it described before stays served."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SluiceError(f"{folder} is not a folder: SLUICE_CONTRACTS must name the folder of the *{SUFFIX} files")
        self._folder = folder
        self._seen: dict[str, Fingerprint] = {}
        self._serve({})
        self.broken: dict[str, str] = {}

    def poll(self) -> bool:
        """Load what is new or changed, drop what is gone. Returns whether anything was."""
        found = self._fingerprints()
        changed = {name for name, mark in found.items() if self._seen.get(name) != mark}
        gone = self._seen.keys() - found.keys()
        for name in sorted(changed):
            self._load(name)
        for name in gone:
            self._serve({other: served for other, served in self.served.items() if other != name})
            self.broken.pop(name, None)
            log.info("contract is gone; its stream is no longer served", stream=name)
        self._seen = found
        return bool(changed or gone)

    async def watch(self, interval: float, on_change: Callable[[], None]) -> None:
        """Poll for ever, every `interval` seconds, away from the event loop's thread."""
        while True:
            await asyncio.sleep(interval)
            try:
                if await asyncio.to_thread(self.poll):
                    on_change()
            except OSError as failure:
                log.error("contracts cannot be read; the old ones stay", folder=str(self._folder), reason=str(failure))

    def nearest(self, name: str) -> str | None:
        """The served stream whose name is most like `name`, if any is."""
        close = difflib.get_close_matches(name[:100], list(self.served), n=1, cutoff=0.5)
        return close[0] if close else None

    def _fingerprints(self) -> dict[str, Fingerprint]:
        found = {}
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found[path.name.removesuffix(SUFFIX)] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return found

    def _serve(self, served: dict[str, Served]) -> None:
        """`by_path`: by the address to which their events are sent."""
        self.served = served
        self.by_path = {f"/v1/streams/{name}/events".encode(): one for name, one in served.items()}

    def _load(self, name: str) -> None:
        try:
            served = Served.of(load_contract(self._folder / f"{name}{SUFFIX}"))
        except SluiceError as failure:
            self.broken[name] = str(failure)
            log.error("contract is broken", stream=name, reason=str(failure), still_served=name in self.served)
            return
        self.broken.pop(name, None)
        self._serve({**self.served, name: served})
        log.info("contract is served", stream=name, version=served.stream.version)
