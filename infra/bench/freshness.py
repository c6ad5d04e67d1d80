"""Seconds from the HTTP answer to the moment at which a Trino query sees the row in silver."""

import asyncio
import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from catalog import names, query
from catalog.lake import open_catalog
from catalog.progress import decode_offsets
from catalog.settings import LakeSettings
from infra.bench.quantiles import quantiles
from infra.demo.sets import demo_sets
from ingest_gateway.client import AsyncClient, Event

BATCHES_PER_SECOND = 5
# Seconds between two looks. Half of it, and half of a query's time, is added to what is measured.
PROBE_PAUSE = 0.2
# Well below the age at which the stream job expires snapshots.
SNAPSHOTS_STAY = 60.0
Looks = dict[str, list[tuple[float, dict[int, int]]]]


async def freshness(
    lake: LakeSettings, streams: Mapping[str, Any], rate: int, seconds: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Send `rate` events a second over the demo's streams for so long, while a probe asks Trino a few times a second.

    The probe asks which snapshot of silver Trino reads; a row counts as visible when the first query was started that read a
    snapshot with its offset. (Asking for the rows themselves so often would take both cores of a small machine from what is
    measured.) In the end the rows themselves are counted.
    Returns seconds as p50, p95 and max, what was sent, and `unseen`: rows that the last count did not find.
    """
    run = uuid.uuid4().hex[:12]
    sets = demo_sets(streams)
    loop = asyncio.get_running_loop()
    answered: dict[str, list[tuple[float, int, int]]] = {one.stream.name: [] for one in sets}
    over = asyncio.Event()
    probe = asyncio.create_task(_probe(lake, [one.stream.name for one in sets], over))
    share = max(1, rate // (BATCHES_PER_SECOND * len(sets)))
    started = loop.time()
    senders = [
        asyncio.create_task(
            _send(
                lake.gateway_url,
                one.stream.name,
                run,
                itertools.cycle(one.records),
                share,
                started,
                seconds,
                answered,
                tick,
            )
        )
        for one in sets
    ]
    sent = sum(await asyncio.gather(*senders))
    took = loop.time() - started
    await asyncio.sleep(15)  # the last rows' way, and a look at them
    over.set()
    seen = await probe
    lags = [lag for name in answered for lag in _lags(answered[name], seen[name])]
    missing = sent - await asyncio.to_thread(_count, lake, run, list(answered))
    return {
        "events": sent,
        "events_per_s": sent / took,
        "streams": len(sets),
        "unseen": missing,
        "seconds": quantiles(lags),
    }


async def _send(
    url: str,
    stream: str,
    run: str,
    records: Iterator[Any],
    share: int,
    started: float,
    seconds: int,
    answered: dict[str, list[tuple[float, int, int]]],
    tick: Callable[[], None],
) -> int:
    number = 0
    loop = asyncio.get_running_loop()
    async with AsyncClient(url, stream, key=os.environ.get("SLUICE_API_KEY")) as client:
        for turn in range(seconds * BATCHES_PER_SECOND):
            await asyncio.sleep(max(0.0, started + turn / BATCHES_PER_SECOND - loop.time()))
            events = [
                Event(f"{run}-{stream}-{number + n}", _fresh(stream, next(records).payload)) for n in range(share)
            ]
            number += share
            verdicts = await client.send(events)
            now = time.monotonic()
            answered[stream] += [
                (now, v.partition, v.offset) for v in verdicts if v.partition is not None and v.offset is not None
            ]
            tick()
    return number


def _fresh(stream: str, payload: bytes) -> bytes:
    """Orders and users of their own, so that a run does not change the demo's rows; times keep the record's own."""
    if stream not in ("orders", "users"):
        return payload
    record = orjson.loads(payload)
    key = "order_id" if stream == "orders" else "user_id"
    record[key] = str(uuid.uuid4())
    return orjson.dumps(record)


async def _probe(lake: LakeSettings, streams: list[str], over: asyncio.Event) -> Looks:
    """Query after query, which snapshot of each table Trino reads, and when the query was started: what is in the snapshot was
    visible to a query of that moment. For each stream: (moment, last visible offset of each partition)."""
    sql = " union all ".join(
        f"select '{stream}' as stream, snapshot_id from {query.identifier(names.SILVER, stream + '$refs')} where name = 'main'"
        for stream in streams
    )
    looks: list[tuple[float, str, int]] = []
    offsets: dict[int, dict[int, int]] = {}
    read_at = time.monotonic()
    while not over.is_set():
        now = time.monotonic()
        looks += [(now, row["stream"], row["snapshot_id"]) for row in await asyncio.to_thread(query.rows, lake, sql)]
        if now > read_at + SNAPSHOTS_STAY:
            offsets |= await asyncio.to_thread(_offsets, lake, streams)
            read_at = now
        await asyncio.sleep(PROBE_PAUSE)
    offsets |= await asyncio.to_thread(_offsets, lake, streams)
    return {
        stream: [(when, offsets[snapshot]) for when, of, snapshot in looks if of == stream and snapshot in offsets]
        for stream in streams
    }


def _offsets(lake: LakeSettings, streams: list[str]) -> dict[int, dict[int, int]]:
    """The last offset of each partition that a snapshot of silver holds, for all snapshots that are there."""
    catalog = open_catalog(lake)
    found = {}
    for stream in streams:
        for snapshot in catalog.load_table(names.table(names.SILVER, stream)).snapshots():
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            if names.P_OFFSETS in summary:
                found[snapshot.snapshot_id] = {p: o - 1 for p, o in decode_offsets(summary[names.P_OFFSETS]).items()}
    return found


def _count(lake: LakeSettings, run: str, streams: list[str]) -> int:
    """Rows of this run that SQL finds in silver and quarantine."""
    return sum(
        int(
            query.rows(
                lake, f"select count(*) as n from {query.identifier(layer, stream)} where _event_id like '{run}-%'"
            )[0]["n"]
        )
        for stream in streams
        for layer in (names.SILVER, names.QUARANTINE)
    )


def _lags(answered: list[tuple[float, int, int]], seen: list[tuple[float, dict[int, int]]]) -> Iterator[float]:
    """Both are in the order of time, and offsets of a partition only grow: one walk for each partition."""
    for partition in {partition for _, partition, _ in answered}:
        looks = iter(seen)
        when, reached = 0.0, -1
        for at, _, offset in sorted((a for a in answered if a[1] == partition), key=lambda a: a[2]):
            while reached < offset:
                try:
                    when, state = next(looks)
                except StopIteration:
                    return
                reached = max(reached, state.get(partition, -1))
            yield max(0.0, when - at)
