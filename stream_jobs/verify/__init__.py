"""Proof that nothing acknowledged is lost and nothing is counted twice, from the tables and Kafka alone.

`quick` compares numbers that metadata has, and looks at places of rows only where they do not agree. `deep` reads all of it: bronze
is compared with Kafka, silver and quarantine with what the contract makes of bronze, gold with its own SQL over silver.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from catalog import names
from catalog.contract import Stream
from catalog.kafka_offsets import topic_bounds
from catalog.lake import open_catalog
from catalog.settings import LakeSettings, read_settings
from stream_jobs.verify.check import Check
from stream_jobs.verify.ledger import remembered, write
from stream_jobs.verify.load import Watch
from stream_jobs.verify.report import Deviation, Mode, Report
from stream_jobs.verify.settings import VerifySettings

__all__ = ["Deviation", "Mode", "Report", "verify"]


def verify(
    lake: LakeSettings,
    streams: Sequence[Stream],
    mode: Mode = "quick",
    *,
    wait: float | None = 60.0,
    done: Callable[[Report], None] = lambda _: None,
    watch: Watch = lambda *_: None,
    keep: Callable[[Report], bool] = lambda _: True,
) -> list[Report]:
    """A report for each stream; those that `keep` chooses are written to `ops.ledger`.

    Waits up to `wait` seconds for silver to reach what the topics hold now; None does not ask that of it.
    """
    began = datetime.now(UTC)
    ends = asyncio.run(topic_bounds(lake, (names.topic(stream.name) for stream in streams))) if wait is not None else {}
    catalog = open_catalog(lake)
    check = Check(lake, read_settings(VerifySettings), catalog, remembered(catalog), watch)
    deadline = time.monotonic() + (wait or 0)
    reports = []
    for stream in streams:
        wanted = {partition: end for partition, (_, end) in ends.get(names.topic(stream.name), {}).items()}
        report = check(stream, mode, wanted, deadline)
        reports.append(report)
        done(report)
    write(catalog, began, filter(keep, reports))
    return reports
