"""Entity streams: silver against a fold of bronze that is written down anew, in SQL, over all of it at once.

One row a key, the latest by event time, then offset, then partition; bad rows and repeats don't count. Which of two equal ids in
different partitions came first, only the batches knew: such rows may stand, and need not.
"""

from collections.abc import Iterator

from stream_jobs.verify.cut import Cut
from stream_jobs.verify.report import Deviation, deviations
from stream_jobs.verify.scratch import Scratch


def misfolded(scratch: Scratch, cut: Cut) -> Iterator[Deviation]:
    """Keys without a row, with several, or with one that is not the latest."""
    name = cut.silver.name
    scratch.run(_candidates(cut.stream.horizon_days))
    scratch.run("create table latest as select k, max(place) as place from candidates where sure group by k")
    scratch.run("create table standing as select s.p, s.o, w.k from s join w using (p, o)")
    yield from deviations(
        "doubled", name, "rows have the same key",
        scratch.ranges("select p, o from standing where k in (select k from standing group by k having count(*) > 1)"),
    )  # fmt: skip
    yield from deviations(
        "missing", name, "the latest rows of their keys are not there, nor any other of the key",
        scratch.ranges("select p, o from candidates join latest using (k, place) anti join standing using (k)"),
    )  # fmt: skip
    yield from deviations(
        "altered", name, "rows are not the latest of their keys in bronze",
        scratch.ranges("""
            select s.p, s.o from standing s left join candidates c using (p, o) left join latest l on l.k = s.k
            where c.place is null or c.place < l.place"""),
    )  # fmt: skip


def _candidates(horizon: int) -> str:
    """`candidates`: good rows that are no repeats, with their place within their key; not `sure` if an id is in two partitions."""
    return f"""
        create table candidates as
        with many as (select id, count(distinct p) as parts from b group by id having count(*) > 1),
        repeats as (
            select p, o, parts = 1 as sure,
                parts = 1 and coalesce(r - max(r) over before <= interval {horizon} day, false) as again
            from b join many using (id)
            window before as (partition by id order by o rows between unbounded preceding and 1 preceding)
        ),
        judged as (
            select b.p, b.o, w.k, w.t, case when b.v then w.bad else q.o is not null end as bad
            from b join w using (p, o) left join q using (p, o)
        )
        select p, o, k, coalesce(sure, true) as sure, row_number() over (partition by k order by t nulls first, o, p) as place
        from judged left join repeats using (p, o)
        where not bad and not coalesce(again, false)"""
