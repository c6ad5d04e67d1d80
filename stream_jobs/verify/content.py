"""Does every row hold what it has to hold? Bronze against Kafka; silver and quarantine against a recompute."""

from collections.abc import Iterator

from catalog.settings import LakeSettings
from stream_jobs.records import bronze_rows
from stream_jobs.verify.cut import Cut
from stream_jobs.verify.kafka import Bounds, records, table_of
from stream_jobs.verify.load import Watch, bronze_hash
from stream_jobs.verify.report import Deviation, Range, deviations
from stream_jobs.verify.scratch import Scratch

KAFKA_BATCH = 5_000


async def load_kafka(scratch: Scratch, lake: LakeSettings, cut: Cut, bounds: Bounds, watch: Watch) -> None:
    """`k`: the hashes of what bronze has to hold of all records below its offsets that Kafka still has."""
    scratch.make("k", "p integer, o bigint, h ubigint")
    most = sum(max(0, cut.bronze.progress.offsets.get(p, 0) - begin) for p, (begin, _) in bounds.items())
    for partition, (begin, _) in sorted(bounds.items()):
        span = Range(partition, begin, max(begin, cut.bronze.progress.offsets.get(partition, 0)))
        async for batch in records(lake, cut.stream.name, span, KAFKA_BATCH):
            scratch.add("k", bronze_rows(table_of(batch)), f'partition, "offset", {bronze_hash()}')
            watch(f"topic {cut.stream.name}", len(batch), most)


def unlike_kafka(scratch: Scratch, cut: Cut, bounds: Bounds, compacted: bool) -> Iterator[Deviation]:
    """Rows of bronze that are not Kafka's. `bounds` as they are after `k` was read: Kafka forgets its oldest all the time."""
    yield from deviations(
        "altered", cut.bronze.name, "rows are not what Kafka holds at their offsets",
        scratch.ranges("select p, o from committed c join k using (p, o) where c.h <> k.h"),
    )  # fmt: skip
    there = " or ".join(f"(p = {p} and o >= {begin})" for p, (begin, _) in bounds.items()) or "false"
    if not compacted:
        yield from deviations(
            "unexpected", cut.bronze.name, "rows are there that Kafka does not hold",
            scratch.ranges(f"select p, o from committed anti join k using (p, o) where {there}"),
        )  # fmt: skip


def unlike_bronze(scratch: Scratch, cut: Cut) -> Iterator[Deviation]:
    """Rows of silver and quarantine that are not what the contract makes of bronze.

    Rows that were sent under another version of the contract were judged by that, and are not recomputed.
    """
    judged = "join w using (p, o) join b using (p, o)"
    for one, rows, bad in ((cut.silver, "s", "false"), (cut.quarantine, "q", "true")):
        other = cut.quarantine.name if rows == "s" else cut.silver.name
        yield from deviations(
            "unexpected", one.name, f"rows are here that the contract puts into {other}",
            scratch.ranges(f"select p, o from {rows} {judged} where coalesce(b.v, {rows}.v) and bad <> {bad}"),
        )  # fmt: skip
        yield from deviations(
            "altered", one.name, "rows are not what the contract makes of bronze",
            scratch.ranges(f"select p, o from {rows} {judged} where coalesce(b.v, {rows}.v) and bad = {bad} and {rows}.h <> w.h"),
        )  # fmt: skip


def older_versions(scratch: Scratch) -> int:
    """Rows that were sent under another version of the contract."""
    return scratch.one("select count(*) from b where not v")
