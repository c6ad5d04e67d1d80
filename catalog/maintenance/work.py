"""The work on one table: merge files, expire snapshots, remove orphans. Each part tells what it did."""

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from catalog.data_files import FileForm
from catalog.maintenance import orphans
from catalog.maintenance.compaction import MIB, Group, plan
from catalog.maintenance.expiry import Cut, cut
from catalog.maintenance.faults import point
from catalog.maintenance.inventory import history
from catalog.maintenance.java import ConflictError
from catalog.maintenance.replace import replace
from catalog.maintenance.rewrite import FormError
from catalog.maintenance.tools import (
    COMPACT,
    CONFLICT,
    DONE,
    EXPIRE,
    FAILED,
    NOTHING,
    ORPHANS,
    PLANNED,
    Amount,
    Done,
    Effect,
    Tools,
    timed,
)


def compact(tools: Tools, identifier: str) -> Iterator[Done]:
    """Merge small files, and position deletes, partition by partition, within the byte budget of a round."""
    table, found = tools.load(identifier)
    dead = {path: len(rows) for path, rows in tools.dead.of(found.deletes).items()}
    settings, form = tools.settings, FileForm(table)
    for group in plan(found.data, found.deletes, dead, settings.target_mib * MIB, settings.budget_mib * MIB):
        yield timed(identifier, COMPACT, partial(_compact, tools, identifier, form, group))


def _compact(tools: Tools, identifier: str, form: FileForm, group: Group) -> Effect:
    before = Amount(len(group.files) + len(group.deletes), group.size)
    if tools.dry_run:
        return Effect(PLANNED, before, before)
    try:
        result = replace(tools, identifier, form, group)
    except ConflictError as lost:
        return Effect(CONFLICT, before, before, str(lost))
    except FormError as unlike:
        return Effect(FAILED, before, before, str(unlike))
    return Effect(DONE, before, result.left, result.detail)


def expire(tools: Tools, identifier: str, at_least: int = 1) -> Iterator[Done]:
    """Forget snapshots that no reader can hold any more, if there are so many; remove what only they had."""
    commits = history(tools.catalog.load_table(identifier))
    chosen = cut(commits, int(time.time() * 1000), int(tools.settings.snapshot_age * 1000))
    if chosen is not None and chosen.expires >= at_least:
        yield timed(identifier, EXPIRE, partial(_expire, tools, identifier, chosen, len(commits)))


def _expire(tools: Tools, identifier: str, chosen: Cut, snapshots: int) -> Effect:
    detail = f"{chosen.expires} of {snapshots} snapshots"
    if tools.dry_run:
        return Effect(PLANNED, detail=detail)
    point("before-expire")
    try:
        tools.java.expire(identifier, chosen)
    except ConflictError as lost:
        return Effect(CONFLICT, detail=str(lost))
    point("after-expire")
    return Effect(DONE, detail=detail)


def remove_orphans(tools: Tools, identifier: str) -> Iterator[Done]:
    """Remove files that no snapshot knows and that are older than the safe age."""
    yield timed(identifier, ORPHANS, partial(_remove_orphans, tools, identifier))


def _remove_orphans(tools: Tools, identifier: str) -> Effect:
    location = tools.catalog.load_table(identifier).location()
    found = orphans.listed(tools.files, location, timedelta(hours=tools.settings.orphan_hours))
    # Loaded again, after the listing: what was committed meanwhile is known.
    lost = orphans.orphans(tools.catalog.load_table(identifier), tools.inventories, found.old)
    before = Amount(found.files, found.bytes)
    if not lost:
        return Effect(NOTHING, before, before)
    after = Amount(found.files - len(lost), found.bytes - sum(lost.values()))
    if tools.dry_run:
        return Effect(PLANNED, before, after)
    point("before-orphans")
    orphans.remove(tools.files, _with_a_point(lost))
    return Effect(DONE, before, after)


def _with_a_point(lost: dict[str, int]) -> Iterator[str]:
    for number, path in enumerate(lost):
        if number == 1:
            point("within-orphans")
        yield path
