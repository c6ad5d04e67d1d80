"""A stack under load is struck by one fault after another. Afterwards every event is where the sender was told that it is.

`SLUICE_FAULTS` strikes (6 by default, which takes CI some minutes) of the seed `SLUICE_FAULTS_SEED` (1 by default, so that a
change is judged by what it changes); with `SLUICE_FAULTS_NAMED="kill minio"` those of that name alone.
`SLUICE_FAULTS_REPORT=docs/faults.md` writes what was measured.
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from random import Random

import orjson
import pytest
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError

from catalog import names
from catalog.kafka_offsets import topic_bounds
from catalog.lake import open_catalog
from catalog.progress import table_progress
from catalog.settings import LakeSettings
from ingest_gateway.client import Event
from tests.drivers import Own, await_state
from tests.faults.accounts import check_entities, check_events
from tests.faults.load import body, demo_of, payload_of, sending
from tests.faults.report import Struck, table
from tests.faults.strikes import Scene, deck
from tests.stack import WAIT, Stack, eventually
from tests.streams import add_stream, send

pytestmark = pytest.mark.stack
FAULTS = int(os.environ.get("SLUICE_FAULTS", "6"))
SEED = int(os.environ.get("SLUICE_FAULTS_SEED", "1"))
NAMED = os.environ.get("SLUICE_FAULTS_NAMED", "")
EVENTS, ENTITIES, DEMO = ("struck_events", "struck_more"), ("struck_entities",), ("orders",)


@pytest.mark.timeout(600 + 300 * FAULTS)
def test_every_event_is_where_its_sender_was_told(stack: Stack, contracts: Path, lake: LakeSettings) -> None:
    print(f"\nSLUICE_FAULTS={FAULTS} SLUICE_FAULTS_SEED={SEED}")
    random, run = Random(SEED), uuid.uuid4().hex[:8]
    streams, demos = [*EVENTS, *ENTITIES, *DEMO], {stream: demo_of(stream) for stream in DEMO}
    for stream in (*EVENTS, *ENTITIES):
        add_stream(stack, contracts, stream, entity=stream in ENTITIES)
    scene = Scene(stack, lake, open_catalog(lake), streams, random)
    await_fresh(scene, "the beginning")
    struck = []
    with sending(lake.gateway_url, streams, demos, run, random) as ledgers:
        for name, strike in deck(Random(SEED), FAULTS, NAMED):
            strike(scene)
            over = time.monotonic()
            await_fresh(scene, name)
            struck.append(Struck(name, time.monotonic() - over))
            print(f"{name}: fresh again after {struck[-1].seconds:.1f} s", flush=True)
    await_state(Own(stack), "running")
    reports = json.loads(
        stack.sluice("verify", "--deep", "--json", "--wait", WAIT, *(part for s in streams for part in ("-s", s)))
    )
    assert not [(report["stream"], report["unchecked"]) for report in reports if report["unchecked"]]
    assert {report["stream"] for report in reports} == {*streams, "gold"}
    for stream in (*EVENTS, *DEMO):
        check_events(lake, stream, run, ledgers[stream])
    for stream in ENTITIES:
        check_entities(lake, stream, run, ledgers[stream])
    report = table(struck, list(ledgers.values()), SEED)
    print(report)
    if path := os.environ.get("SLUICE_FAULTS_REPORT"):
        Path(path).write_text(report)


def await_fresh(scene: Scene, after: str) -> None:
    """An event that is sent now to each stream is in silver: the chain works again, from end to end."""
    for stream in scene.streams:
        payload = payload_of(demo_of(stream)) if stream in DEMO else orjson.dumps(body(0, 1.0))
        send(scene.stack, stream, [Event(f"fresh-{uuid.uuid4().hex}", payload)])
    ends = eventually(lambda: _ends(scene), 120, f"Kafka answers after {after}")
    try:
        eventually(
            lambda: all(_reached(scene, stream, ends) for stream in scene.streams),
            180,
            f"silver is fresh after {after}",
        )
    except AssertionError as late:
        stale = [stream for stream in scene.streams if not _reached(scene, stream, ends)]
        log = (scene.stack.state / "log" / "stream.log").read_text(errors="replace").splitlines()[-40:]
        raise AssertionError(
            "\n".join([str(late), f"stale: {stale}", scene.stack.run("status").stdout, *log])
        ) from late


def _ends(scene: Scene) -> dict[str, dict[int, tuple[int, int]]] | None:
    try:
        return asyncio.run(topic_bounds(scene.lake, map(names.topic, scene.streams)))
    except KafkaError:
        return None


def _reached(scene: Scene, stream: str, ends: Mapping[str, Mapping[int, tuple[int, int]]]) -> bool:
    try:
        at = table_progress(scene.catalog.load_table(names.table(names.SILVER, stream))).offsets
    except (OSError, DBAPIError):
        return False
    return all(at.get(partition, 0) >= end for partition, (_, end) in ends[names.topic(stream)].items())
