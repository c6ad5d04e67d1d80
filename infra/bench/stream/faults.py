"""Seconds from a kill to the moment at which an event goes from HTTP to Trino again, in every stream, under load."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from catalog import names, query
from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from infra.bench.events import Source
from infra.bench.own_job import wait_until
from infra.bench.stream.show import Watcher
from infra.demo.sets import demo_sets
from infra.native import control
from ingest_gateway.client import Client, Event, Retry

PARTS = ("gateway", "kafka", "minio", "postgres", "trino", "stream", "maintenance")
PER_SECOND = 5
LIMIT = 180.0
# So that a process which is killed at once after its start does not count as another fault.
BETWEEN = 5.0
OPTIONS: dict[str, Any] = {
    "timeout": 5, "retry": Retry(patience=3, first=0.1, longest=1), "key": os.environ.get("SLUICE_API_KEY"),
}  # fmt: skip


def faults(lake: LakeSettings, streams: Mapping[str, Stream], state: Path, rate: int, see: Watcher) -> dict[str, Any]:
    """Kill one part after another, each once."""
    load = os.getloadavg()[0]
    run = uuid.uuid4().hex[:12]
    with _sending(lake, [Source(one, run) for one in demo_sets(streams)], rate):
        probe = [Source(one, f"{run}-probe") for one in demo_sets(streams)]
        see("the load begins", 0.0)
        _await_fresh(lake, probe)
        seconds = {}
        for number, part in enumerate(PARTS):
            see(f"{part} is killed", number / len(PARTS))
            struck = time.monotonic()
            _kill(state, part)
            seconds[part] = _await_fresh(lake, probe) - struck
            wait_until(partial(_is_ready, state, part), f"{part} is ready", limit=LIMIT)
            time.sleep(BETWEEN)
    return {"rate": rate, "load_before": load, "seconds": seconds}


def _kill(state: Path, part: str) -> None:
    process = control.view(state).parts[part].process
    if process is None:
        raise SluiceError(f"{part} does not run, so that it can't be killed: `sluice up`")
    os.kill(process.pid, signal.SIGKILL)


def _is_ready(state: Path, part: str) -> bool:
    return control.view(state).parts[part].state == "ready"


def _await_fresh(lake: LakeSettings, sources: Sequence[Source]) -> float:
    """The moment at which SQL finds in each stream an event that was sent after the call."""
    wanted = {source.stream: _send_one(lake, source) for source in sources}
    sql = " union all ".join(
        f"select 1 from {query.identifier(layer, stream)} where _event_id = '{event}'"
        for stream, event in wanted.items()
        for layer in (names.SILVER, names.QUARANTINE)
    )
    return wait_until(lambda: _count(lake, sql) == len(wanted), "SQL finds what was sent", limit=LIMIT)


def _send_one(lake: LakeSettings, source: Source) -> str:
    """The id of an event that the gateway took."""
    taken: list[str] = []

    def sent() -> bool:
        event = source.take(1)[0]
        if _taken(client, [event]):
            taken.append(event.id)
        return bool(taken)

    with Client(lake.gateway_url, source.stream, ca=lake.gateway_ca, **OPTIONS) as client:
        wait_until(sent, "the gateway takes an event", limit=LIMIT)
    return taken[0]


def _count(lake: LakeSettings, sql: str) -> int:
    try:
        return len(query.rows(lake, sql))
    except SluiceError:  # Trino, or what it reads from, is away
        return 0


def _taken(client: Client, events: Sequence[Event]) -> bool:
    try:
        return all(verdict.taken for verdict in client.send(events))
    except SluiceError:
        return False


@contextmanager
def _sending(lake: LakeSettings, sources: Sequence[Source], rate: int) -> Iterator[None]:
    """A load of `rate` events a second over all, that goes on whatever happens."""
    over = threading.Event()

    def send(source: Source) -> None:
        with Client(lake.gateway_url, source.stream, ca=lake.gateway_ca, **OPTIONS) as client:
            while not over.wait(1 / PER_SECOND):
                _taken(client, source.take(max(1, rate // PER_SECOND // len(sources))))

    threads = [threading.Thread(target=send, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
