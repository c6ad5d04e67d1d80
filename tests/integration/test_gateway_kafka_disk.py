"""A Kafka whose file system is full while clients keep sending: what had a 202 is in the topic, in order."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ledger import Ledger, emptied, spooling
from tests.stack import CHECKOUT, Stack, free_port_base

pytestmark = pytest.mark.stack
SIZE = "64m"
FILLER = "filler"


@dataclass(frozen=True)
class Disk:
    """Kafka's file system, held open: it is in a mount namespace of the stack's own, so no path leads there from here."""

    handle: int

    def fill(self) -> None:
        """Leave no room at all."""
        file = os.open(FILLER, os.O_WRONLY | os.O_CREAT, dir_fd=self.handle)
        try:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while os.write(file, bytes(size)):
                        pass
        finally:
            os.close(file)

    def clear(self) -> None:
        """Give it back."""
        os.unlink(FILLER, dir_fd=self.handle)


@pytest.fixture
def cramped() -> Iterator[Stack]:
    """A stack of its own, Kafka alone, with its data on a file system that is small."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    data = folder / "state" / "data" / "kafka"
    data.mkdir(parents=True)
    small = f'mount -t tmpfs -o size={SIZE} tmpfs {data} && exec "$@"'
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", small, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    base = free_port_base()
    Stack(folder / "state", base, launcher=[*own, str(CHECKOUT / "sluice")]).up("kafka")
    stack = Stack(folder / "state", base)
    try:
        yield stack
    finally:
        stack.down()
        shutil.rmtree(folder)


@pytest.fixture
def disk(cramped: Stack) -> Iterator[Disk]:
    data = f"/proc/{cramped.pid('kafka')}/root{cramped.state}/data/kafka"
    handle = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Disk(handle)
    finally:
        os.close(handle)


def test_a_broker_without_room_costs_nobody_anything(cramped: Stack, disk: Disk, tmp_path: Path) -> None:
    with spooling(cramped, tmp_path) as gateway:
        ledger = Ledger(gateway, gateway.stream("gw_kafka_full"))

        async def run() -> None:
            async with ledger.sending():
                await ledger.gets(300)
                await asyncio.to_thread(disk.fill)
                await ledger.spools(300)
                disk.clear()
                await asyncio.to_thread(cramped.await_ready, "kafka")
                await ledger.gets_past_the_spool(300)

        asyncio.run(run())
        emptied(gateway)
        assert ledger.problems == set()
        ledger.check()
