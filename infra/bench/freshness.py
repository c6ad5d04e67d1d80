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
from catalog.progress import decode_offsets
from catalog.settings import LakeSettings
from infra.bench.quantiles import quantiles
from infra.demo.sets import demo_sets
from ingest_gateway.client import AsyncClient, Event

BATCHES_PER_SECOND = 5


async def freshness(
    lake: LakeSettings, streams: Mapping[str, Any], rate: int, seconds: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Send `rate` events a second over the demo's streams for so long, while a probe asks Trino twice a second.

    The probe asks for the offsets that silver's newest snapshot carries: from then on every query that starts sees the rows
    below them. (Asking for the rows themselves so often would take both cores of a small machine from what is measured.)
    A row counts as visible at the end of the first such query. In the end the rows themselves are counted.
    Returns seconds as p50, p95 and max, what was sent, and `unseen`: rows that the last count did not find.
    """
    run = uuid.uuid4().hex[:12]
    sets = demo_sets(streams)
    loop = asyncio.get_running_loop()
    answered: dict[str, list[tuple[float, int, int]]] = {one.stream.name: [] for one in sets}
    seen: dict[str, list[tuple[float, dict[int, int]]]] = {one.stream.name: [] for one in sets}
    over = asyncio.Event()
    probe = asyncio.create_task(_probe(lake, seen, over))
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
    await probe
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


async def _probe(
    lake: LakeSettings, seen: Mapping[str, list[tuple[float, dict[int, int]]]], over: asyncio.Event
) -> None:
    """Remember, query after query, the last offset of each partition that is visible."""
    sql = " union all ".join(
        f"select '{stream}' as stream, max_by(summary['{names.P_OFFSETS}'], committed_at) as offsets "
        f"from {query.identifier(names.SILVER, stream + '$snapshots')} where element_at(summary, '{names.P_OFFSETS}') is not null"
        for stream in seen
    )
    while not over.is_set():
        rows = await asyncio.to_thread(query.rows, lake, sql)
        now = time.monotonic()
        for row in rows:
            if row["offsets"]:
                reached = {partition: offset - 1 for partition, offset in decode_offsets(row["offsets"]).items()}
                seen[row["stream"]].append((now, reached))
        await asyncio.sleep(0.5)


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
