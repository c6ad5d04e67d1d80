"""What metadata alone can say: no data file is read as long as all numbers agree.

- Each table holds as many rows as the stream job counted, by the manifest list of its snapshot (data rows less position deletes).
- Bronze holds as many rows as the offsets say: the sum over its partitions, less what was given up and what is void.
- What the job counted adds up: bronze's rows below silver's offsets are in silver, quarantine, or counted as repeats or superseded.
- Since the oldest snapshot that is not expired, nobody wrote to the tables but the stream job and compactions.

So a row that was lost or doubled shows, and a change by somebody else as long as its snapshot is there. What it can't see: one row
lost and another one doubled by a fault of the stream job itself, or a row whose content is wrong. `--deep` does.
"""

from collections.abc import Iterator, Mapping

from pyiceberg.table.snapshots import Operation, Snapshot

from catalog import names
from catalog.progress import decode_offsets, decode_totals
from stream_jobs.verify.cut import Cut, TableCut
from stream_jobs.verify.holes import Known
from stream_jobs.verify.report import Deviation, Range, counted, shared


def exact_rows(one: TableCut) -> int:
    """The same, counted: a delete may point into a file that compaction has rewritten."""
    return 0 if one.snapshot is None else one.table.scan(snapshot_id=one.snapshot.snapshot_id).count()


def deviating(cut: Cut, losses: list[Range], known: Mapping[int, Known]) -> list[Deviation]:
    """Everything that metadata shows."""
    return [*_order(cut), *_counts(cut), *_complete(cut, losses, known), *_added_up(cut), *_strangers(cut)]


def _order(cut: Cut) -> Iterator[Deviation]:
    """Bronze is never behind the others."""
    reached = cut.bronze.progress.offsets
    for one in (cut.quarantine, cut.silver):
        for partition, end in sorted(one.progress.offsets.items()):
            if (start := reached.get(partition, 0)) < end:
                message = f"its offsets are ahead of {cut.bronze.name}'s"
                span = Range(partition, start, end)
                yield Deviation("unexpected", one.name, message, partition, len(span), (str(span),))


def _counts(cut: Cut) -> Iterator[Deviation]:
    """Each table holds what the job counted."""
    expected = (
        (cut.bronze, cut.bronze.progress.totals.rows),
        (cut.quarantine, cut.quarantine.progress.totals.quarantine),
        (cut.silver, cut.silver.progress.totals.silver),
    )
    for one, counted_rows in expected:
        if one.rows() != counted_rows and (held := exact_rows(one)) != counted_rows:
            message = f"the stream job counted {counted_rows:,} rows, the table holds {held:,}"
            yield Deviation("miscounted", one.name, message, None, abs(counted_rows - held))


def _complete(cut: Cut, losses: list[Range], known: Mapping[int, Known]) -> Iterator[Deviation]:
    """The number of bronze's rows is the number of offsets that had a record."""
    offsets = cut.bronze.progress.offsets
    expected = expected_rows(offsets, losses, known)
    counted_rows = cut.bronze.progress.totals.rows
    if expected != counted_rows:
        message = f"{expected:,} offsets had a record, as far as is known; the stream job counted {counted_rows:,} rows"
        yield Deviation("miscounted", cut.bronze.name, message, None, abs(expected - counted_rows))


def expected_rows(offsets: Mapping[int, int], losses: list[Range], known: Mapping[int, Known]) -> int:
    """Rows that bronze must hold below these offsets."""
    spans = [Range(partition, 0, end) for partition, end in offsets.items()]
    given_up = sum(counted(shared(spans, losses)).values())
    void = sum(one.void for partition, one in known.items() if one.end <= offsets.get(partition, 0))
    return sum(map(len, spans)) - given_up - void


def _added_up(cut: Cut) -> Iterator[Deviation]:
    """All that silver's offsets cover is accounted for, and quarantine counted the same."""
    totals = cut.silver.progress.totals
    accounted = totals.silver + totals.quarantine + totals.duplicates + totals.superseded
    if accounted != totals.rows:
        message = f"{totals.rows:,} rows came in, {accounted:,} are accounted for"
        yield Deviation("miscounted", cut.silver.name, message, None, abs(totals.rows - accounted))
    if cut.silver.progress.offsets == cut.bronze.progress.offsets and totals.rows != cut.bronze.progress.totals.rows:
        message = f"{totals.rows:,} rows came in, {cut.bronze.name} counted {cut.bronze.progress.totals.rows:,}"
        yield Deviation(
            "miscounted", cut.silver.name, message, None, abs(totals.rows - cut.bronze.progress.totals.rows)
        )
    yield from _quarantined(cut)


def _quarantined(cut: Cut) -> Iterator[Deviation]:
    """Quarantine may be a batch ahead of silver: its newest snapshot that is not has to have counted the same."""
    counted_rows = cut.silver.progress.totals.quarantine
    if cut.quarantine.snapshot is None and counted_rows:
        message = f"it is empty, {cut.silver.name} counted {counted_rows:,} rows in it"
        yield Deviation("miscounted", cut.quarantine.name, message, None, counted_rows)
    for snapshot in cut.quarantine.history():
        told = _facts(snapshot)
        if names.P_OFFSETS not in told:
            continue
        if all(
            cut.silver.progress.offsets.get(p, 0) >= end for p, end in decode_offsets(told[names.P_OFFSETS]).items()
        ):
            held = decode_totals(told.get(names.P_TOTALS)).quarantine
            if held != counted_rows:
                message = f"it counted {held:,} rows, {cut.silver.name} {counted_rows:,}"
                yield Deviation("miscounted", cut.quarantine.name, message, None, abs(held - counted_rows))
            return


def _strangers(cut: Cut) -> Iterator[Deviation]:
    """Snapshots that change rows and are not the stream job's."""
    for one in cut.tables:
        for snapshot in one.history():
            told = _facts(snapshot)
            operation = snapshot.summary.operation if snapshot.summary else None
            if names.P_OFFSETS not in told and operation != Operation.REPLACE:
                rows = sum(
                    int(told.get(name, 0)) for name in ("added-records", "deleted-records", "added-position-deletes")
                )
                by = told.get("engine-name") or told.get("trino_query_id") or "another program"
                word = operation.value if operation else "?"
                message = f"snapshot {snapshot.snapshot_id} ({word}) was written by {by}, not by the stream job"
                yield Deviation("unexpected", one.name, message, None, rows)


def _facts(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else {}
