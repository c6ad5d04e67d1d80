"""Is every row where it belongs, once? From the places of rows and their event ids alone, without the stream job's own code.

A row of bronze is in silver or in quarantine, once; or it is a repeat: another row of bronze has its event id, received within the
horizon, and that id is kept. An entity's row may have been superseded by a later one of its key (`entities` looks at those).
Which of two equal ids came first is certain within one partition only, so nothing is said of it here.
"""

from collections.abc import Iterator

from stream_jobs.verify.cut import Cut
from stream_jobs.verify.load import below
from stream_jobs.verify.report import Deviation, deviations
from stream_jobs.verify.scratch import Scratch


def misplaced(scratch: Scratch, cut: Cut) -> Iterator[Deviation]:
    """All that holds for a loaded scratch, but for bronze's own completeness."""
    bronze, quarantine, silver = (one.name for one in cut.tables)
    yield from deviations(
        "unexpected", bronze, "rows are beyond the offsets that the stream job committed",
        scratch.ranges(f"select p, o from all_b where not ({below(cut.bronze.progress.offsets)})"),
    )  # fmt: skip
    yield from deviations(
        "doubled", bronze, "offsets are there more than once",
        scratch.ranges("select p, o from all_b group by p, o having count(*) > 1"),
    )  # fmt: skip
    for name, rows in ((silver, "s"), (quarantine, "q")):
        yield from deviations(
            "unexpected", name, "rows are there that bronze does not hold",
            scratch.ranges(f"select p, o from {rows} anti join b using (p, o)"),
        )  # fmt: skip
        yield from deviations(
            "doubled", name, "rows are there more than once",
            scratch.ranges(f"select p, o from {rows} group by p, o having count(*) > 1"),
        )  # fmt: skip
    yield from deviations(
        "doubled", silver, f"rows are there and in {quarantine} too",
        scratch.ranges("select p, o from s semi join q using (p, o)"),
    )  # fmt: skip
    yield from _identities(scratch, cut)
    if cut.stream.kind == "event":
        yield from _lost(scratch, cut)


def _identities(scratch: Scratch, cut: Cut) -> Iterator[Deviation]:
    """No event id is kept twice within the horizon."""
    yield from deviations(
        "doubled", cut.silver.name, f"event ids are kept more than once, here or in {cut.quarantine.name}",
        scratch.ranges(f"""
            select p, o from (
                select p, o, r - lag(r) over (partition by id order by r, p, o) as since from b
                semi join kept using (p, o) where id in (select id from b group by id having count(*) > 1)
            ) where since <= interval {cut.stream.horizon_days} day"""),
    )  # fmt: skip


def _lost(scratch: Scratch, cut: Cut) -> Iterator[Deviation]:
    yield from deviations(
        "missing", cut.silver.name, f"rows of {cut.bronze.name} are neither here nor in {cut.quarantine.name}, and are no repeats",
        scratch.ranges(f"""
            with more as (
                select *, max(r) over (partition by id order by p, o rows between unbounded preceding and unbounded following
                                       exclude current row) as other
                from b where id in (select id from b group by id having count(*) > 1)
            ), repeats as (
                select p, o from more where r - other <= interval {cut.stream.horizon_days} day
                and id in (select id from b semi join kept using (p, o))
            )
            select p, o from b anti join kept using (p, o) anti join repeats using (p, o)"""),
    )  # fmt: skip
