"""Gold against a recompute: the SQL of each model, run anew by Trino over silver as it was when the model was refreshed."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from catalog import names, query
from catalog.gold_project import GoldProject, Model
from catalog.progress import decode_offsets
from catalog.settings import LakeSettings
from stream_jobs.verify.report import Deviation, Report

# What a model says of its own refresh is not what it says of the events.
BOOKKEEPING = ("_silver_snapshot", "_silver_offsets", "_refreshed_at")


@dataclass(frozen=True)
class Refreshed:
    """A stored model's snapshot, and the snapshot of silver whose rows it shows; None where there is none, or none any more."""

    snapshot: int | None = None
    silver: int | None = None


def check_gold(
    lake: LakeSettings,
    catalog: Catalog,
    project: GoldProject,
    present: set[str],
    streams: Iterable[str] | None,
    wait: float,
) -> Report:
    """All models that read the given streams themselves (None: all). Raises TrinoAwayError and SluiceError."""
    started = time.monotonic()
    found: list[Deviation] = []
    unchecked: list[str] = []
    sources = {source: model for source in project.sources() & present for model in project.stored_over(source)}
    if streams is not None:
        sources = {source: model for source, model in sources.items() if source in set(streams)}
    stored = _wait(lake, catalog, sources, wait)
    at_silver = {source: at.silver for source, at in stored.items() if at.silver is not None}
    for model in _models(project, present, streams, at_silver):
        table = names.table(names.GOLD, model.name)
        name = query.identifier(names.GOLD, model.name)
        if not model.stored:
            found += _compared(lake, model, name)
        elif (at := stored[model.sources[0]]).snapshot is None:
            unchecked.append(f"{table} has no rows yet")
        elif at.silver is None:
            unchecked.append(f"{table}: the snapshot of silver.{model.sources[0]} that it was made from is expired")
        else:
            found += _compared(lake, model, f"{name} for version as of {at.snapshot}")
    seconds = time.monotonic() - started
    return Report(names.GOLD, "deep", deviations=tuple(found), unchecked=tuple(unchecked), seconds=seconds)


def _models(
    project: GoldProject, present: set[str], streams: Iterable[str] | None, snapshots: Mapping[str, int]
) -> list[Model]:
    wanted = present if streams is None else present & set(streams)
    if not wanted & project.sources():
        return []  # to compile takes seconds
    found = project.compiled(present=present, snapshots=snapshots)
    return [model for model in found if streams is None or set(model.sources) & set(streams)]


def _wait(lake: LakeSettings, catalog: Catalog, sources: Mapping[str, str], wait: float) -> dict[str, Refreshed]:
    """Until every stored model shows a snapshot of silver that is still there, or the time is over."""
    deadline = time.monotonic() + wait
    while True:
        found = {source: _refreshed(lake, catalog, source, model) for source, model in sources.items()}
        expired = [at for at in found.values() if at.snapshot is not None and at.silver is None]
        if not expired or time.monotonic() > deadline:
            return found
        time.sleep(1)


def _refreshed(lake: LakeSettings, catalog: Catalog, source: str, model: str) -> Refreshed:
    try:
        now = catalog.load_table(names.table(names.GOLD, model)).current_snapshot()
    except NoSuchTableError:
        return Refreshed()
    if now is None:
        return Refreshed()
    table = query.identifier(names.GOLD, model)
    sql = f"select max_by(_silver_offsets, _refreshed_at) as offsets from {table} for version as of {now.snapshot_id}"
    offsets = query.rows(lake, sql)[0]["offsets"]
    if offsets is None:
        return Refreshed()
    return Refreshed(now.snapshot_id, _snapshot_at(catalog.load_table(names.table(names.SILVER, source)), offsets))


def _snapshot_at(silver: Table, offsets: str) -> int | None:
    """The newest snapshot with these offsets; those without any (compactions) change no rows."""
    wanted = decode_offsets(offsets)
    snapshot = silver.current_snapshot()
    while snapshot is not None:
        told = snapshot.summary.additional_properties if snapshot.summary else {}
        if names.P_OFFSETS in told and decode_offsets(told[names.P_OFFSETS]) == wanted:
            return snapshot.snapshot_id
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else silver.snapshot_by_id(parent)
    return None


def _compared(lake: LakeSettings, model: Model, stored: str) -> Iterator[Deviation]:
    columns = query.run(lake, f"select * from ({model.sql}) where false").columns
    chosen = [_comparable(column) for column in columns if column.name not in BOOKKEEPING]
    each, places = ", ".join(chosen), ", ".join(str(n + 1) for n in range(len(chosen)))
    row = query.rows(
        lake,
        f"""
        with a as (select {each}, count(*) as times from {stored} group by {places}),
             b as (select {each}, count(*) as times from ({model.sql}) group by {places})
        select (select count(*) from (select * from a except select * from b)) as stored,
               (select count(*) from (select * from b except select * from a)) as expected,
               (select coalesce(sum(times - 1), 0) from a) - (select coalesce(sum(times - 1), 0) from b) as doubled
        """,
    )[0]
    table = names.table(names.GOLD, model.name)
    if row["doubled"] > 0:
        yield Deviation("doubled", table, "rows are there more often than a recompute gives them", None, row["doubled"])
    elif row["stored"] and row["expected"]:
        yield Deviation("altered", table, "rows differ from a recompute", None, max(row["stored"], row["expected"]))
    elif row["expected"]:
        yield Deviation("missing", table, "a recompute gives rows that are not there", None, row["expected"])
    elif row["stored"]:
        yield Deviation("unexpected", table, "rows are there that a recompute does not give", None, row["stored"])


def _comparable(column: query.ResultColumn) -> str:
    """A sum of doubles depends on the order of its parts: their first digits are compared."""
    name = query.identifier(column.name)
    return (
        f"format('%.9e', cast({name} as double)) as {name}"
        if column.type in ("double", "real")
        else f"{name} as {name}"
    )
