"""All measures of the gateway, alternating, so that what disturbs the machine disturbs each of them.

The figure of several runs is their median. A ratio is the median of the ratios of runs that followed each other.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from catalog import kafka_client
from catalog.errors import SluiceError
from catalog.kafka_offsets import topic_bounds
from catalog.settings import LakeSettings
from catalog.topics import ensure_topics
from infra.bench.gateway import runs, servers
from infra.bench.gateway.load import Job
from infra.bench.gateway.servers import ECHO, PLAIN, SLUICE, TUNED, Server
from infra.bench.gateway.shapes import BATCHES, SINGLES, write_contract
from infra.bench.spool import spool

PRODUCER = "producer"
CONNECTIONS = {SINGLES: 64, BATCHES: 16}
HALF_RATE_CONNECTIONS = 200
CROWD = 800  # connections of an overload: below the gateway's own limit of them
Say = Callable[[str], None]
Figures = dict[str, Any]
Runs = dict[str, list[Figures]]  # by server


@dataclass(frozen=True)
class Plan:
    """How much is measured. `seconds` are those of one run."""

    workers: int = 1
    repetitions: int = 3
    seconds: float = 4.0
    spool_events: int = 50_000


def gateway(lake: LakeSettings, folder: Path, plan: Plan, say: Say) -> dict[str, Any]:
    """Measure on topics and in a folder of the benchmark's own. The topics are deleted afterwards. Raises SluiceError."""
    busy = os.getloadavg()[0]
    mark = uuid4().hex[:8]
    topics = {name: f"bench_{name}_{mark}" for name in (ECHO, PLAIN, TUNED, SLUICE, PRODUCER)}
    contracts = folder / "contracts"
    contracts.mkdir()
    write_contract(contracts, topics[SLUICE])
    kafka = [topics[name] for name in (PLAIN, TUNED, SLUICE, PRODUCER)]
    asyncio.run(ensure_topics(lake, kafka))
    try:
        with _servers(plan, contracts, folder) as running:
            bench = _Bench(running, topics, plan, say)
            found = bench.run()
        written = asyncio.run(_records(lake, topics[SLUICE]))
    finally:
        asyncio.run(_delete(lake, kafka))
    if written < bench.acknowledged[SLUICE]:
        raise SluiceError(
            f"The gateway acknowledged {bench.acknowledged[SLUICE]} events, and its topic holds {written}"
        )
    say("the spool")
    spooled = spool(lake, folder / "spool_alone", plan.spool_events)
    return {
        **vars(plan),
        "cores": os.cpu_count(),
        "load_before": busy,
        **found,
        "acknowledged": bench.acknowledged[SLUICE],
        "in_topic": written,
        "spool": spooled,
    }


@contextmanager
def _servers(plan: Plan, contracts: Path, folder: Path) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(servers.rival(name, plan.workers, folder / f"{name}.log"))
            for name in (ECHO, PLAIN, TUNED)
        }
        running[SLUICE] = stack.enter_context(
            servers.gateway(plan.workers, contracts, folder / "spool", folder / "sluice.log")
        )
        yield running


class _Bench:
    """The runs. `acknowledged` counts the events of each server that had a 202."""

    def __init__(self, running: dict[str, Server], topics: dict[str, str], plan: Plan, say: Say) -> None:
        self.acknowledged = dict.fromkeys(running, 0)
        self._running = running
        self._topics = topics
        self._plan = plan
        self._say = say

    def run(self) -> dict[str, Any]:
        """Greatest rates, times at half of it, and three times of it."""
        runs_of: dict[str, Runs] = {
            SINGLES: {ECHO: [], PLAIN: [], SLUICE: []},
            BATCHES: {PRODUCER: [], PLAIN: [], TUNED: [], SLUICE: []},
        }
        for number in range(1, self._plan.repetitions + 1):
            for shape, by_server in runs_of.items():
                self._say(f"greatest rate of {shape}, {number} of {self._plan.repetitions}")
                for name, found in by_server.items():
                    found.append(self._greatest(name, shape))
        rates = {shape: {name: _rate(found) for name, found in of.items()} for shape, of in runs_of.items()}
        greatest = rates[SINGLES][SLUICE]["events_per_s"]
        ratios = {shape: _ratios(by_server) for shape, by_server in runs_of.items()}
        return {
            **rates,
            "ratios": ratios,
            "half_rate": self._half_rate(greatest / 2),
            "overload": self._overload(3 * greatest),
        }

    def _greatest(self, name: str, shape: str) -> Figures:
        short, seconds = min(1.0, self._plan.seconds), self._plan.seconds
        if name == PRODUCER:
            runs.bare_producer(self._topics[name], short)
            return runs.bare_producer(self._topics[name], seconds)
        self._load(name, shape, short, CONNECTIONS[shape])
        found = self._load(name, shape, seconds, CONNECTIONS[shape])
        if set(found["statuses"]) != {"202"} or found["lost"]:
            raise SluiceError(f"{name} did not take all {shape}, so its rate means nothing: {found['statuses']}")
        return found

    def _half_rate(self, rate: float) -> Figures:
        found: Runs = {PLAIN: [], SLUICE: []}
        for number in range(1, self._plan.repetitions + 1):
            self._say(f"singles at half of the gateway's greatest rate, {number} of {self._plan.repetitions}")
            for name, results in found.items():
                results.append(self._load(name, SINGLES, self._plan.seconds, HALF_RATE_CONNECTIONS, rate))
        return {"rate": rate, **{name: _times(results) for name, results in found.items()}}

    def _overload(self, rate: float) -> Figures:
        self._say("singles at three times the gateway's greatest rate")
        found = self._load(SLUICE, SINGLES, self._plan.seconds, CROWD, rate, drop=True)
        refused = found["statuses"].get("503", 0)
        return {"rate": rate, "refused_share": refused / found["requests"], **found}

    def _load(
        self, name: str, shape: str, seconds: float, connections: int, rate: float | None = None, drop: bool = False
    ) -> Figures:
        server = self._running[name]
        found = runs.load(server, Job(server.port, self._topics[name], shape, seconds, connections, rate, drop))
        self.acknowledged[name] += found["accepted_events"]
        return found


def _rate(results: list[Figures]) -> Figures:
    rates = [run["accepted_events_per_s"] for run in results]
    spent = [run["server_us_per_event"] for run in results if "server_us_per_event" in run]
    return {
        "events_per_s": median(rates),
        "best_events_per_s": max(rates),
        "events_per_s_of_runs": rates,
        "server_us_per_event": median(spent) if spent else None,
    }


def _ratios(by_server: Runs) -> dict[str, float]:
    """Of the gateway to each of the others: the median over the rounds."""
    return {
        name: median(
            ours["accepted_events_per_s"] / theirs["accepted_events_per_s"]
            for ours, theirs in zip(by_server[SLUICE], results, strict=True)
        )
        for name, results in by_server.items()
        if name != SLUICE
    }


def _times(results: list[Figures]) -> Figures:
    taken = [run["from_due_ms"].get("202", {"p50": inf, "p99": inf}) for run in results]
    return {
        "events_per_s": median(run["accepted_events_per_s"] for run in results),
        "p50_ms": median(times["p50"] for times in taken),
        "p99_ms": median(times["p99"] for times in taken),
        "p99_ms_of_runs": [times["p99"] for times in taken],
        "other_statuses": sum(count for run in results for status, count in run["statuses"].items() if status != "202"),
    }


async def _records(lake: LakeSettings, topic: str) -> int:
    """How many records a topic holds."""
    return sum(end - start for start, end in (await topic_bounds(lake, [topic]))[topic].values())


async def _delete(lake: LakeSettings, topics: list[str]) -> None:
    async with kafka_client.admin(lake) as admin:
        await admin.delete_topics(topics)
