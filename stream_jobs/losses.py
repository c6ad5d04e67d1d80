"""Going on without offsets that Kafka no longer has: a person's decision, written down in `ops.losses`, then committed.

The record comes first: a kill between the two leaves a loss that was accepted and is not in force, and the same call again puts
it in force. The commit adds no rows. It moves bronze's offsets over the gap, and silver's too where silver had all that bronze has;
else silver's own catching up gets there. It is a compare-and-swap on the table's current snapshot, so it can't go between what
another writer read and what it commits: one of the two is refused.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update import AssertTableUUID

from catalog import names
from catalog.errors import SluiceError
from catalog.kafka_offsets import GoneError, cluster_id, topic_bounds
from catalog.ops_tables import LOSSES, append, recent
from catalog.progress import Offsets, Progress, encode_offsets, encode_totals, table_progress
from catalog.settings import LakeSettings
from stream_jobs.source import claim

TRIES = 20
EVER = timedelta(days=36_500)
Bounds = Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Loss:
    """Offsets [start, end) of one partition of a stream."""

    stream: str
    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.stream}:{self.partition}:{self.start}-{self.end - 1}"


def parsed(text: str) -> Loss:
    """`orders:0:120-479`, the last offset included. Raises SluiceError."""
    try:
        stream, partition, offsets = text.rsplit(":", 2)
        first, _, last = offsets.partition("-")
        loss = Loss(stream, int(partition), int(first), int(last) + 1)
    except ValueError:
        raise SluiceError(f"{text!r} is not STREAM:PARTITION:FROM-TO, as in orders:0:120-479") from None
    if not (loss.stream and loss.partition >= 0 and 0 <= loss.start < loss.end):
        raise SluiceError(f"{text!r}: partition and offsets are whole numbers, and FROM is not after TO")
    return loss


def gaps(stream: str, bounds: Bounds, reached: Offsets) -> list[Loss]:
    """What bronze lacks and Kafka no longer has."""
    return [
        Loss(stream, partition, reached.get(partition, 0), begin)
        for partition, (begin, end) in sorted(bounds.items())
        if reached.get(partition, 0) < begin <= end
    ]


def require_gap(loss: Loss, bounds: Bounds, reached: Offsets) -> None:
    """Raises SluiceError, with what is so, unless the loss is exactly what Kafka no longer has and bronze lacks."""
    if loss.partition not in bounds:
        there = ", ".join(map(str, sorted(bounds))) or "none"
        raise SluiceError(f"{loss}: the topic has no partition {loss.partition}; its partitions: {there}")
    begin, end = bounds[loss.partition]
    at = reached.get(loss.partition, 0)
    if at > end:
        raise SluiceError(
            f"{loss}: the topic ends at {end - 1} and bronze has offsets up to {at - 1}: it was deleted and made anew. "
            "No range mends that: give the stream a new name."
        )
    found = gaps(loss.stream, {loss.partition: bounds[loss.partition]}, reached)
    if found == [loss]:
        return
    if found:
        raise SluiceError(f"{loss}: that is not the gap. Kafka no longer has {found[0]}: accept that, or nothing")
    if loss.end <= at:
        raise SluiceError(f"{loss}: nothing is lost there: bronze is at offset {at} already")
    if loss.start >= begin:
        raise SluiceError(f"{loss}: nothing is lost there: Kafka still has offsets {begin} to {end - 1}")
    raise SluiceError(f"{loss}: nothing is lost there: bronze goes on at {at}, and Kafka has offsets from {begin} on")


def reached(catalog: Catalog, stream: str) -> Offsets:
    """Where bronze goes on. Raises SluiceError where there is no such table."""
    return table_progress(_load(catalog, names.BRONZE, stream)).offsets


def current_gaps(lake: LakeSettings, catalog: Catalog, streams: Iterable[str]) -> list[Loss]:
    """All that is lost now. Streams that were not applied yet have nothing to lose."""
    listed = list(streams)
    bounds = asyncio.run(topic_bounds(lake, map(names.topic, listed)))
    applied = [name for name in listed if catalog.table_exists(names.table(names.BRONZE, name))]
    return [loss for name in applied for loss in gaps(name, bounds.get(names.topic(name), {}), reached(catalog, name))]


def accept(lake: LakeSettings, catalog: Catalog, losses: Sequence[Loss], reason: str, by: str) -> None:
    """All of them or, where one is not the gap, none. Raises SluiceError."""
    check(lake, catalog, losses)
    known = {(row["stream"], row["partition"], row["from_offset"], row["to_offset"])
             for row in recent(catalog, LOSSES, EVER).to_pylist()}  # fmt: skip
    new = [loss for loss in losses if (loss.stream, loss.partition, loss.start, loss.end) not in known]
    append(catalog, LOSSES, [_row(loss, reason, by) for loss in new])
    for stream in sorted({loss.stream for loss in losses}):
        _commit(catalog, stream, [loss for loss in losses if loss.stream == stream])


def check(lake: LakeSettings, catalog: Catalog, losses: Sequence[Loss]) -> None:
    """Raises SluiceError where one of them is not exactly what is gone."""
    cluster = asyncio.run(cluster_id(lake))
    for stream in {loss.stream for loss in losses}:
        _load(catalog, names.BRONZE, stream)
        try:
            claim(catalog, stream, cluster)
        except GoneError as other:
            raise SluiceError(str(other)) from None
    bounds = asyncio.run(topic_bounds(lake, {names.topic(loss.stream) for loss in losses}))
    for loss in losses:
        require_gap(loss, bounds.get(names.topic(loss.stream), {}), reached(catalog, loss.stream))


def _row(loss: Loss, reason: str, by: str) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC), "stream": loss.stream, "partition": loss.partition, "from_offset": loss.start,
        "to_offset": loss.end, "reason": reason, "by": by,
    }  # fmt: skip


def _commit(catalog: Catalog, stream: str, losses: Sequence[Loss]) -> None:
    was = _move(catalog, names.BRONZE, stream, losses)
    silver = table_progress(_load(catalog, names.SILVER, stream))
    if dict(silver.offsets) == dict(was.offsets):
        _move(catalog, names.SILVER, stream, losses)


def _move(catalog: Catalog, layer: str, stream: str, losses: Sequence[Loss]) -> Progress:
    """Commit offsets beyond the losses, whose beginning the table has to be at; the state that it was in."""
    for _ in range(TRIES):
        table = _load(catalog, layer, stream)
        was = table_progress(table)
        for loss in losses:
            if was.offsets.get(loss.partition, 0) != loss.start:
                raise SluiceError(
                    f"{loss}: another writer has moved {layer}.{stream} meanwhile; nothing was changed there"
                )
        offsets = {**was.offsets, **{loss.partition: loss.end for loss in losses}}
        facts = {names.P_OFFSETS: encode_offsets(offsets), names.P_TOTALS: encode_totals(was.totals)}
        try:
            _swap(catalog, table, facts)
        except CommitFailedException:
            continue  # maintenance, which moves no offsets; or another writer, which the next look finds
        return was
    raise SluiceError(f"{layer}.{stream} is committed to so often that the loss could not be put in force; try again")


def _swap(catalog: Catalog, table: Table, facts: Mapping[str, str]) -> None:
    """A snapshot without new files, if the table is still what was read. pyiceberg's own commit would put it on top of whatever is
    newest. Raises CommitFailedException."""
    staged = Transaction(table, autocommit=False)
    with staged.update_snapshot(snapshot_properties=dict(facts)).fast_append():
        pass
    requirements = (*staged._requirements, AssertTableUUID(uuid=table.metadata.table_uuid))
    catalog.commit_table(table, requirements, staged._updates)


def _load(catalog: Catalog, layer: str, stream: str) -> Table:
    try:
        return catalog.load_table(names.table(layer, stream))
    except NoSuchTableError:
        raise SluiceError(f"There is no table {layer}.{stream}; was the stream ever applied?") from None
