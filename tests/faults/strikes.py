"""What may befall a stack. Each strike returns when its cause is over; what it broke comes back by itself."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

from pyiceberg.catalog import Catalog

from catalog import names, query
from catalog.settings import LakeSettings
from stream_jobs.faults import ORDERS, POINTS
from tests.drivers import Beside, Own, await_state, beside, is_paused, paused
from tests.faults.proxy import FlakyStore, flaky_store
from tests.stack import WAIT, Stack, eventually

PARTS = ("gateway", "kafka", "minio", "postgres", "trino", "stream", "maintenance")


@dataclass(frozen=True)
class Scene:
    """A stack under load, the streams that are sent to, and the dice."""

    stack: Stack
    lake: LakeSettings
    catalog: Catalog
    streams: list[str]
    random: Random


Strike = Callable[[Scene], None]


def strikes() -> dict[str, Strike]:
    """All of them, by name."""
    found: dict[str, Strike] = {f"kill {part}": partial(_kill, part) for part in PARTS}
    found |= {f"pause {part}": partial(_pause, part) for part in PARTS}
    found |= {
        f"{order.removesuffix('-at')} stream {point}": partial(_at, order, point)
        for order in ORDERS
        for point in POINTS
    }
    found |= {
        "kill stream, checkpoint deleted": _without_checkpoint,
        "second job takes over": _take_over,
        "object store fails some calls": _flaky,
        "object store is full": _full,
        "tables are maintained": _maintain,
        "files are compacted by Trino": _compact,
    }
    return found


def deck(random: Random, count: int, named: str = "") -> Iterator[tuple[str, Strike]]:
    """So many strikes (of those whose name holds `named`): all of them in random order before any comes again."""
    while True:
        cards = [(name, strike) for name, strike in strikes().items() if named in name]
        assert cards, f"no strike is named {named}; there are {', '.join(strikes())}"
        random.shuffle(cards)
        for card in cards:
            if count == 0:
                return
            count -= 1
            yield card


def _kill(part: str, scene: Scene) -> None:
    scene.stack.await_ready(part)  # it may not be back yet from a strike that did not touch freshness
    scene.stack.kill(part)


def _pause(part: str, scene: Scene) -> None:
    scene.stack.await_ready(part)
    with paused(scene.stack.pid(part)):
        time.sleep(scene.random.uniform(1, 8))


def _at(order: str, point: str, scene: Scene) -> None:
    job = Own(scene.stack)
    await_state(job, "running")
    pid, laid = job.pid, job.scratch / order
    laid.write_text(point)
    eventually(lambda: not laid.exists(), 120, f"the stream job comes to {point}")
    if ORDERS[order] == signal.SIGSTOP:
        eventually(lambda: is_paused(job), 10, "the stream job is paused")
        time.sleep(scene.random.uniform(1, 8))
        os.kill(pid, signal.SIGCONT)


def _without_checkpoint(scene: Scene) -> None:
    scene.stack.kill("stream")
    for checkpoint in Own(scene.stack).scratch.glob("checkpoint-*"):
        shutil.rmtree(checkpoint, ignore_errors=True)


def _take_over(scene: Scene) -> None:
    with beside(scene.stack, "beside") as other, paused(Own(scene.stack).pid):
        await_state(other, "running")


def _flaky(scene: Scene) -> None:
    with _behind_a_flaky_store(scene) as (store, job):
        await_state(job, "running")
        store.trouble = 0.2
        eventually(lambda: store.failed > 20, 120, "calls of the object store fail")
        store.trouble = 0.0


def _full(scene: Scene) -> None:
    with _behind_a_flaky_store(scene) as (store, job):
        await_state(job, "running")
        store.full = True
        await_state(job, "waiting")
        store.full = False
        await_state(job, "running")


@contextmanager
def _behind_a_flaky_store(scene: Scene) -> Iterator[tuple[FlakyStore, Beside]]:
    """A second job that sees the object store through the proxy, and has its turn since the stack's own is paused."""
    with (
        flaky_store(scene.lake.s3_endpoint, scene.random) as (store, address),
        beside(scene.stack, "beside", SLUICE_S3_ENDPOINT=address) as job,
        paused(Own(scene.stack).pid),
    ):
        yield store, job


def _maintain(scene: Scene) -> None:
    tables = (names.table(layer, stream) for stream in scene.streams for layer in names.LAYERS)
    scene.stack.sluice("maintain", "--wait", WAIT, *(part for table in tables for part in ("-t", table)))


def _compact(scene: Scene) -> None:
    """By Trino, which gives up where the stream has deleted a row meanwhile."""
    for stream in scene.streams:
        for layer in ("silver", "bronze"):
            try:
                query.rows(scene.lake, f"alter table {layer}.{stream} execute optimize")
            except query.QueryFailedError as lost:
                if "found new position delete" not in str(lost):
                    raise
