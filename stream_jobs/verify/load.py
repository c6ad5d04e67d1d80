"""Rows of the three tables as lines of a scratch: their places, and hashes of what they hold.

`b` (bronze), `s` (silver), `q` (quarantine) have `p`, `o` and `h`, the hash of the row; `b` also the hash of the event id and the
time of receipt. `v` is whether the row was sent (or, if it did not say, judged) under the contract's present version. `w` is what
the contract makes of each row of bronze today: `bad`, and the hash that its row in silver or quarantine has to have; of entities
also the key and what ranks it.
"""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow

from catalog.contract import Stream
from catalog.progress import Offsets
from stream_jobs.records import BRONZE
from stream_jobs.refine import PROVENANCE, Refiner
from stream_jobs.verify.cut import Cut, TableCut
from stream_jobs.verify.scratch import Scratch

ID_COLUMNS = ("partition", "offset", "event_id", "received_at")
PLACE = "_kafka_partition, _kafka_offset"
# (what is being read, rows read just now, rows that there are)
Watch = Callable[[str, int, int], None]


def below(offsets: Offsets) -> str:
    """The condition for places below these offsets."""
    return " or ".join(f"(p = {p} and o < {end})" for p, end in sorted(offsets.items())) or "false"


def bronze_hash() -> str:
    """The hash of a row of bronze, in SQL. A map's order means nothing, and engines don't keep it."""
    return (
        f"hash({', '.join('list_sort(map_entries(headers))' if n == 'headers' else quoted(n) for n in BRONZE.names)})"
    )


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A string in SQL."""
    return "'" + value.replace("'", "''") + "'"


def load_places(scratch: Scratch, cut: Cut, watch: Watch) -> None:
    """`b`, `s` and `q` without hashes: only the columns that say which row it is are read."""
    _make(scratch, cut)
    for rows in _rows(cut.bronze, ID_COLUMNS, watch):
        scratch.add("all_b", rows, 'partition, "offset", md5_number(event_id), received_at, null, null')
    for name, table in (("s", cut.silver), ("all_q", cut.quarantine)):
        for rows in _rows(table, PLACE.split(", "), watch):
            scratch.add(name, rows, f"{PLACE}, null, null")
    _views(scratch, cut)


def load_content(scratch: Scratch, cut: Cut, batch_rows: int, watch: Watch) -> None:
    """All columns of the three tables, and `w`."""
    _make(scratch, cut)
    stream = cut.stream
    refine = Refiner(stream)
    good = _Side(cut.silver, [*(c.name for c in stream.columns), *PROVENANCE.names])
    bad = _Side(cut.quarantine, [*good.names, "payload", "_violations"])
    key, rank = _key(stream), quoted(stream.event_time) if stream.event_time else "null::timestamptz"
    empty = refine(BRONZE.empty_table()).silver
    places = "_kafka_partition as p, _kafka_offset as o"
    scratch.add_as("all_w", good.fitted(empty), f"{places}, false as bad, {good.hash} as h, {key} as k, {rank} as t")
    for rows in _rows(cut.bronze, BRONZE.names, watch):
        for start in range(0, len(rows), batch_rows):
            part = rows.slice(start, batch_rows)
            known = f'partition, "offset", md5_number(event_id), received_at, {bronze_hash()}'
            scratch.add("all_b", part, f"{known}, contract_version = {text(stream.version)}")
            refined = refine(part.cast(BRONZE))
            scratch.add("all_w", good.fitted(refined.silver), f"{PLACE}, false, {good.hash}, {key}, {rank}")
            scratch.add("all_w", bad.fitted(refined.quarantine), f"{PLACE}, true, {bad.hash}, {key}, {rank}")
    for name, side in (("s", good), ("all_q", bad)):
        for rows in _rows(side.table, side.names, watch):
            scratch.add(name, side.fitted(rows), f"{PLACE}, {side.hash}, _contract_version = {text(stream.version)}")
    _views(scratch, cut)
    _view(scratch, "w", "all_w", below(cut.silver.progress.offsets))


class _Side:
    """A table that rows are refined into: how a row of it is hashed, read or recomputed."""

    def __init__(self, table: TableCut, names: Sequence[str]) -> None:
        self.table = table
        self.names = list(names)
        arrow = schema_to_pyarrow(table.table.schema(), include_field_ids=False)
        self._schema = pa.schema([arrow.field(name) for name in names])
        self.hash = f"hash({', '.join(map(quoted, names))})"

    def fitted(self, rows: pa.Table) -> pa.Table:
        """In the table's own types, which may be wider than those of an older file."""
        return rows.select(self.names).cast(self._schema)


def _make(scratch: Scratch, cut: Cut) -> None:
    scratch.make("all_b", "p integer, o bigint, id uhugeint, r timestamptz, h ubigint, v boolean")
    scratch.make("s", "p integer, o bigint, h ubigint, v boolean")
    scratch.make("all_q", "p integer, o bigint, h ubigint, v boolean")


def _views(scratch: Scratch, cut: Cut) -> None:
    """`committed`: bronze up to its own offsets; `b` and `q` up to silver's; `kept`: the rows of silver and quarantine."""
    handled = below(cut.silver.progress.offsets)
    _view(scratch, "committed", "all_b", below(cut.bronze.progress.offsets))
    scratch.run(f"create view b as select * from committed where {handled}")
    scratch.run(f"create view q as select * from all_q where {handled}")
    scratch.run("create view kept as select p, o from s union all select p, o from q")


def _view(scratch: Scratch, name: str, of: str, where: str) -> None:
    """Each place once; only where one is there twice does that cost anything."""
    twice = scratch.one(f"select count(*) from (select 1 from {of} group by p, o having count(*) > 1 limit 1)")
    kind, places = ("table", "distinct on (p, o) *") if twice else ("view", "*")
    scratch.run(f"create {kind} {name} as select {places} from {of} where {where}")


def _key(stream: Stream) -> str:
    return f"md5_number(cast(row({', '.join(map(quoted, stream.key))}) as varchar))" if stream.key else "null::uhugeint"


def _rows(one: TableCut, columns: Iterable[str], watch: Watch) -> Iterable[pa.Table]:
    if one.snapshot is None:
        return
    rows = one.rows()
    scan = one.table.scan(snapshot_id=one.snapshot.snapshot_id, selected_fields=tuple(columns))
    for batch in scan.to_arrow_batch_reader():
        if len(batch):
            yield pa.Table.from_batches([batch])
            watch(one.name, len(batch), rows)
