"""Seconds from the HTTP answer to the moment at which a Trino query sees the row in silver, and to silver's commit."""

import asyncio
import contextlib
import os
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from pyiceberg.catalog.sql import SqlCatalog

from catalog import names, query
from catalog.lake import open_catalog
from catalog.progress import decode_offsets
from catalog.settings import LakeSettings
from infra.bench.events import Source
from infra.bench.quantiles import quantiles
from infra.demo.sets import demo_sets
from ingest_gateway.client import AsyncClient

BATCHES_PER_SECOND = 5
# Seconds between two looks at the catalog, which say when to ask Trino, and between two questions to Trino that is behind.
PROBE_PAUSE = 0.05
# Of so many changes of a table Trino is asked after one: a question takes a tenth of a second of a processor from the stream job.
ASKED_OF = 3
# Well below the age at which the stream job expires snapshots.
SNAPSHOTS_STAY = 60.0
# After the last event: its way, and a look at it.
LAST_WAY = 15.0
LOCATION = (
    "select metadata_location from iceberg_tables where catalog_name = %s and table_namespace = %s and table_name = %s"
)
# (moment, last offset of each partition that was there at that moment), in the order of time
States = Sequence[tuple[float, Mapping[int, int]]]
# (moment, last offset of each partition before a snapshot, and with it): the rows that came with it were visible at that moment
Looks = Sequence[tuple[float, Mapping[int, int], Mapping[int, int]]]
# (moment of the answer, partition, offset)
Answers = list[tuple[float, int, int]]


@dataclass(frozen=True)
class _Snapshot:
    """Of silver: when it was committed (monotonic clock), and the last offset of each partition that it holds."""

    at: float
    offsets: Mapping[int, int]


async def freshness(
    lake: LakeSettings, streams: Mapping[str, Any], rate: int, seconds: int, tick: Callable[[], None]
) -> dict[str, Any]:
    """Send `rate` events a second over the demo's streams for so long, while a probe asks Trino what it sees.

    When a commit to silver shows in the catalog, one of ASKED_OF each, the probe asks Trino which snapshot of that table it reads,
    until it reads that one or a later one; the rows that came with the snapshot count as visible when the query was started. (To
    ask for the rows themselves, or after each commit, would take from a small machine what is measured.) In the end the rows
    themselves are counted.
    Returns seconds as p50, p95, p99 and max, to the query (of the share `asked` of all rows) and to the commit in silver (of all),
    what was sent, and `unseen`: rows that the last count did not find. `tick` is called once for each batch that was sent.
    """
    run = uuid.uuid4().hex[:12]
    sources = [Source(one, run) for one in demo_sets(streams)]
    loop = asyncio.get_running_loop()
    answered: dict[str, Answers] = {source.stream: [] for source in sources}
    over = asyncio.Event()
    probe = asyncio.create_task(_probe(lake, list(answered), over))
    share = -(-rate // (BATCHES_PER_SECOND * len(sources)))
    started = loop.time()
    counts = await asyncio.gather(
        *(_send(lake, one, share, started, seconds, answered[one.stream], tick) for one in sources)
    )
    took = loop.time() - started
    await asyncio.sleep(LAST_WAY)
    over.set()
    looks, commits = await probe
    visible = [lag for name in answered for lag in own_lags(answered[name], looks[name])]
    changed = [name for name in answered if streams[name].kind == "entity"]
    missing = await asyncio.to_thread(_missing, lake, run, dict(zip(answered, counts, strict=True)), changed)
    return {
        "events": sum(counts),
        "events_per_s": sum(counts) / took,
        "streams": len(sources),
        "unseen": missing,
        "asked": len(visible) / max(1, sum(map(len, answered.values()))),
        "seconds": quantiles(visible),
        "commit_seconds": quantiles([lag for name in answered for lag in lags(answered[name], commits[name])]),
    }


async def _send(
    lake: LakeSettings,
    source: Source,
    share: int,
    started: float,
    seconds: int,
    answered: Answers,
    tick: Callable[[], None],
) -> int:
    """How many were sent."""
    loop = asyncio.get_running_loop()
    key = os.environ.get("SLUICE_API_KEY")
    async with AsyncClient(lake.gateway_url, source.stream, key=key, ca=lake.gateway_ca) as client:
        for turn in range(seconds * BATCHES_PER_SECOND):
            await asyncio.sleep(max(0.0, started + turn / BATCHES_PER_SECOND - loop.time()))
            verdicts = await client.send(source.take(share))
            now = time.monotonic()
            answered += [
                (now, v.partition, v.offset) for v in verdicts if v.partition is not None and v.offset is not None
            ]
            tick()
    return seconds * BATCHES_PER_SECOND * share


async def _probe(
    lake: LakeSettings, streams: list[str], over: asyncio.Event
) -> tuple[dict[str, Looks], dict[str, States]]:
    """What Trino saw of each stream when, and what was committed when."""
    catalog = open_catalog(lake)
    looks: list[tuple[float, str, int]] = []
    known: dict[str, dict[int, _Snapshot]] = {stream: {} for stream in streams}
    watches = [asyncio.create_task(_watch(lake, stream, looks, over)) for stream in streams]
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), SNAPSHOTS_STAY)
        await asyncio.to_thread(_read_snapshots, catalog, known)
    await asyncio.gather(*watches)
    seen: dict[str, list[tuple[float, Mapping[int, int], Mapping[int, int]]]] = {stream: [] for stream in streams}
    for stream, found in known.items():
        before = dict(zip(found, [{}, *(one.offsets for one in found.values())], strict=False))
        first: dict[int, float] = {}
        for when, of, snapshot in looks:
            if of == stream and snapshot in found:
                first.setdefault(snapshot, when)
        seen[stream] = [(when, before[snapshot], found[snapshot].offsets) for snapshot, when in first.items()]
    commits: dict[str, States] = {
        stream: sorted(((one.at, one.offsets) for one in found.values()), key=lambda state: state[0])
        for stream, found in known.items()
    }
    return dict(seen), commits


async def _watch(lake: LakeSettings, stream: str, looks: list[tuple[float, str, int]], over: asyncio.Event) -> None:
    """Add to `looks` when a query was started and which snapshot of a stream's silver it read."""
    table = names.table(names.SILVER, stream)
    namespace, name = table.split(".")
    refs = f"select snapshot_id from {query.identifier(names.SILVER, stream + '$refs')} where name = 'main'"
    known, changes, behind, seen = None, 0, False, None
    async with await psycopg.AsyncConnection.connect(lake.catalog_uri, autocommit=True) as catalog:
        while not over.is_set():
            found = await catalog.execute(LOCATION, (lake.catalog_name, namespace, name))
            location = await found.fetchone()
            changes += location != known
            if behind or (location != known and changes % ASKED_OF == 0):
                now = time.monotonic()
                rows = await asyncio.to_thread(query.rows, lake, refs)
                looks += [(now, stream, row["snapshot_id"]) for row in rows]
                # Trino may answer from before the change: then it is asked again.
                behind = not rows or rows[0]["snapshot_id"] == seen
                seen = rows[0]["snapshot_id"] if rows else seen
            known = location
            await asyncio.sleep(PROBE_PAUSE)


def _read_snapshots(catalog: SqlCatalog, known: dict[str, dict[int, _Snapshot]]) -> None:
    """Add all snapshots of silver that are there and carry offsets."""
    clocks = time.time() - time.monotonic()
    for stream, found in known.items():
        for snapshot in catalog.load_table(names.table(names.SILVER, stream)).snapshots():
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            if snapshot.snapshot_id not in found and names.P_OFFSETS in summary:
                last = {p: o - 1 for p, o in decode_offsets(summary[names.P_OFFSETS]).items()}
                found[snapshot.snapshot_id] = _Snapshot(snapshot.timestamp_ms / 1000 - clocks, last)


def _missing(lake: LakeSettings, run: str, sent: Mapping[str, int], changed: list[str]) -> int:
    """Events that SQL finds neither in silver nor in quarantine; of streams whose rows are replaced, in bronze."""
    missing = 0
    for stream, count in sent.items():
        tables = (
            [(names.BRONZE, "event_id")]
            if stream in changed
            else [(names.SILVER, "_event_id"), (names.QUARANTINE, "_event_id")]
        )
        missing += count - sum(
            query.rows(
                lake, f"select count(*) as n from {query.identifier(layer, stream)} where {column} like '{run}-%'"
            )[0]["n"]
            for layer, column in tables
        )
    return missing


def own_lags(answered: Answers, looks: Looks) -> Iterator[float]:
    """From each answer to the look at the snapshot that brought its row; rows of snapshots that were not looked at are left out."""
    answers: dict[int, list[tuple[int, float]]] = {}
    for at, partition, offset in answered:
        answers.setdefault(partition, []).append((offset, at))
    for of in answers.values():
        of.sort()
    for when, before, last in looks:
        for partition, end in last.items():
            of = answers.get(partition, [])
            first = bisect_right(of, (before.get(partition, -1), float("inf")))
            for _, at in of[first : bisect_right(of, (end, float("inf")))]:
                yield max(0.0, when - at)


def lags(answered: Answers, states: States) -> Iterator[float]:
    """From each answer to the first state with its offset; what none has is left out. Offsets of a partition only grow, and so
    do its states: one walk for each partition."""
    for partition in {partition for _, partition, _ in answered}:
        following = iter(states)
        when, reached = 0.0, -1
        for at, _, offset in sorted((a for a in answered if a[1] == partition), key=lambda a: a[2]):
            while reached < offset:
                try:
                    when, state = next(following)
                except StopIteration:
                    return
                reached = max(reached, state.get(partition, -1))
            yield max(0.0, when - at)
