"""Two stream jobs on one lake. One is paused before any step of a batch, the other takes over, the first wakes: it commits
nothing any more, says why, and each row is in the lake once."""

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog import names
from catalog.lake import open_catalog
from catalog.progress import Offsets, Totals, table_progress
from catalog.settings import LakeSettings
from stream_jobs.faults import POINTS
from tests.drivers import Beside, Own, await_state, await_turns, beside, is_paused, reason
from tests.long import chosen
from tests.stack import WAIT, Stack, eventually
from tests.streams import add_stream, holds_exactly, send, some_events

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def pair(stack: Stack, contracts: Path, lake: LakeSettings) -> tuple[str, str]:
    """An event stream and an entity stream that take rows already."""
    streams = ("paused_events", "paused_entities")
    for name in streams:
        add_stream(stack, contracts, name, entity=name.endswith("entities"))
        send(stack, name, some_events(f"first-{name}", 0, 60))
    verify(stack, streams)
    return streams


@pytest.fixture(scope="module")
def second(stack: Stack, pair: tuple[str, str]) -> Iterator[Beside]:
    """A second job that waits for its turn. In the end the stack's own has it again."""
    with beside(stack, "second") as driver:
        await_state(driver, "standby")
        yield driver
    await_state(Own(stack), "running")
    shutil.rmtree(stack.state / "second")


def verify(stack: Stack, streams: tuple[str, str]) -> None:
    stack.sluice("verify", "--wait", WAIT, "-s", streams[0], "-s", streams[1])


def counted(lake: LakeSettings, streams: tuple[str, str]) -> dict[str, tuple[Offsets, Totals]]:
    """How far each table is, and the rows that were counted; maintenance may make snapshots meanwhile."""
    catalog = open_catalog(lake)
    tables = [names.table(layer, stream) for stream in streams for layer in names.LAYERS]
    found = {table: table_progress(catalog.load_table(table)) for table in tables}
    return {table: (progress.offsets, progress.totals) for table, progress in found.items()}


@pytest.mark.parametrize("where", chosen(POINTS, "validated-bronze", "validated-silver"))
def test_one_that_was_paused_commits_nothing_once_another_took_over(
    where: str, stack: Stack, pair: tuple[str, str], second: Beside, lake: LakeSettings
) -> None:
    active, waiting = await_turns(Own(stack), second)
    run = uuid.uuid4().hex
    (active.scratch / "stop-at").write_text(where)
    for name in pair:
        send(stack, name, some_events(run, 0, 200))
    eventually(lambda: is_paused(active), 60, f"the job is paused at {where}")
    paused = active.pid
    try:
        await_state(waiting, "running")
        verify(stack, pair)
        before = counted(lake, pair)
    finally:
        os.kill(paused, signal.SIGCONT)
    await_state(active, "standby")
    assert active.pid == paused, "it waits its turn in the same process"
    if where != "after-silver":  # then this stream's batch is whole
        eventually(lambda: "was paused and fenced off" in reason(active), 20, "it says why")
    assert counted(lake, pair) == before
    verify(stack, pair)
    holds_exactly(lake, pair[0], run, some_events(run, 0, 200))


def test_of_two_that_start_at_once_one_waits(
    stack: Stack, pair: tuple[str, str], second: Beside, lake: LakeSettings
) -> None:
    run = uuid.uuid4().hex
    second.stop()
    before = stack.pid("stream")
    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(stack.sluice, "restart", "stream")
        second.start()
        restarted.result()
    stack.await_ready("stream", other_than=before)
    await_turns(Own(stack), second)
    for name in pair:
        send(stack, name, some_events(run, 0, 200))
    verify(stack, pair)
    holds_exactly(lake, pair[0], run, some_events(run, 0, 200))


def test_one_that_asks_for_no_lease_doubles_nothing(
    stack: Stack, pair: tuple[str, str], second: Beside, lake: LakeSettings
) -> None:
    """Both commit from the same offsets, batch after batch: only the fence is between them."""
    run = uuid.uuid4().hex
    sent = 0
    with beside(stack, "intruder", SLUICE_STREAM_LEASE="false") as intruder:
        await_state(intruder, "running")
        while intruder.process is not None and intruder.process.poll() is None and sent < 40:
            for name in pair:
                send(stack, name, some_events(run, sent * 50, 50))
            sent += 1
    assert intruder.process is not None
    # -SIGTERM: told to stop when it was fenced off already and Python was taking itself down.
    assert intruder.process.returncode in (0, 3, -signal.SIGTERM), "told to stop, or fenced off"
    shutil.rmtree(intruder.folder)
    verify(stack, pair)
    holds_exactly(lake, pair[0], run, [e for turn in range(sent) for e in some_events(run, turn * 50, 50)])
