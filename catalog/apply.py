"""Make the lake what the contracts say: topics and tables, created or evolved; what would break readers is refused."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.schema import Schema, promote
from pyiceberg.table import Table
from pyiceberg.types import IcebergType, PrimitiveType

from catalog import names, tables
from catalog.contract import Stream
from catalog.errors import SluiceError
from catalog.lake import open_catalog, prepare
from catalog.odcs import load_contracts
from catalog.recovery.leftovers import refuse_leftovers
from catalog.settings import LakeSettings
from catalog.topics import ensure_topics

FIXED = {"sluice.kind": "kind", "sluice.key": "primaryKey"}


@dataclass(frozen=True)
class Change:
    """One thing that `apply` did."""

    stream: str
    target: str
    action: str


def apply(settings: LakeSettings, streams: Mapping[str, Stream] | None = None) -> list[Change]:
    """Topics, namespaces and tables of every contract. Raises SluiceError before anything is changed where it can't."""
    if streams is None:
        streams = load_contracts(settings.contracts)
    prepare(settings)
    catalog = open_catalog(settings)
    existing = {
        names.table(layer, stream.name): _load(catalog, names.table(layer, stream.name))
        for stream in streams.values()
        for layer in names.LAYERS
    }
    for stream in streams.values():
        for layer in names.LAYERS:
            table = existing[names.table(layer, stream.name)]
            if table is not None:
                _refuse_breaking(layer, stream, table)
            else:
                refuse_leftovers(catalog, names.table(layer, stream.name))
    changes = [
        Change(stream.name, names.table(layer, stream.name), action)
        for stream in streams.values()
        for layer in names.LAYERS
        for action in _apply_table(catalog, layer, stream, existing[names.table(layer, stream.name)])
    ]
    made = asyncio.run(ensure_topics(settings, [names.topic(name) for name in streams]))
    return changes + [Change(action.split()[1], "topic", action) for action in made]


def _load(catalog: SqlCatalog, identifier: str) -> Table | None:
    try:
        return catalog.load_table(identifier)
    except NoSuchTableError:
        return None


def _apply_table(catalog: SqlCatalog, layer: str, stream: Stream, table: Table | None) -> list[str]:
    wanted = tables.schema(layer, stream)
    if table is None:
        try:
            catalog.create_table(
                names.table(layer, stream.name),
                wanted,
                partition_spec=tables.partition_spec(layer, stream, wanted),
                properties=tables.properties(layer, stream),
            )
        except TableAlreadyExistsError:
            return []  # two applies at once: the other one was first
        return [f"created {names.table(layer, stream.name)}"]
    return _evolve(table, wanted, tables.properties(layer, stream))


def _evolve(table: Table, wanted: Schema, properties: dict[str, str]) -> list[str]:
    done = []
    current = table.schema()
    with table.update_schema() as update:
        for field in wanted.fields:
            name = field.name
            if name not in current.column_names:
                update.add_column(name, field.field_type, doc=field.doc)
                done.append(f"added column {name}")
                continue
            old = current.find_field(name)
            if isinstance(old.field_type, PrimitiveType) and old.field_type != field.field_type:
                update.update_column(name, field_type=field.field_type)
                done.append(f"widened {name} from {old.field_type} to {field.field_type}")
            if (old.doc or "") != (field.doc or ""):
                update.update_column(name, doc=field.doc or "")
                done.append(f"described column {name}")
    # The format version is a fact of the metadata file, not a property that can be read back.
    properties = {key: value for key, value in properties.items() if key != "format-version"}
    changed = {key: value for key, value in properties.items() if table.properties.get(key) != value}
    if changed:
        with table.transaction() as transaction:
            transaction.set_properties(changed)
        done.append("properties " + ", ".join(sorted(changed)))
    return done


def _refuse_breaking(layer: str, stream: Stream, table: Table) -> None:
    wanted, current, where = tables.schema(layer, stream), table.schema(), names.table(layer, stream.name)
    for key, word in FIXED.items():
        was, now = table.properties.get(key, ""), tables.properties(layer, stream)[key]
        if layer == names.SILVER and was != now:
            raise SluiceError(f"{stream.name}: {word} was {was or 'none'} and is now {now or 'none'}; {where} holds rows "
                              "folded by the old one. Make a new stream, or drop the tables first.")  # fmt: skip
    for old in current.fields:
        if old.name not in {field.name for field in wanted.fields}:
            raise SluiceError(f"{stream.name}: column {old.name} is in {where} but not in the contract; queries may read "
                              "it. Keep the property (deprecated: true), or drop the column from the table first.")  # fmt: skip
        new = wanted.find_field(old.name)
        if not _compatible(old.field_type, new.field_type):
            raise SluiceError(f"{stream.name}: {old.name} is {old.field_type} in {where} and the contract now says "
                              f"{new.field_type}; only widening (int to bigint, float to double, more decimal digits) keeps "
                              "rows and readers right. Add a new property instead.")  # fmt: skip
    spec = tables.partition_spec(layer, stream, wanted)
    now_parts = [(wanted.find_column_name(f.source_id), str(f.transform)) for f in spec.fields]
    was_parts = [(current.find_column_name(f.source_id), str(f.transform)) for f in table.spec().fields]
    if now_parts != was_parts:
        raise SluiceError(f"{stream.name}: {where} is partitioned by {was_parts} and the contract now says {now_parts}; "
                          "changing the partitioning of live tables is not supported yet.")  # fmt: skip


def _compatible(old: IcebergType, new: IcebergType) -> bool:
    if isinstance(old, PrimitiveType) and isinstance(new, PrimitiveType):
        if old == new:
            return True
        try:
            return bool(promote(old, new) == new)
        except Exception:  # pyiceberg raises its ResolveError, or others for pairs that it does not know
            return False
    return str(_shape(old)) == str(_shape(new))


def _shape(kind: IcebergType) -> object:
    """A nested type without its field ids, so that a contract's and a table's can be compared."""
    if kind.is_struct:
        return {field.name: _shape(field.field_type) for field in kind.fields}
    if kind.is_primitive:
        return str(kind)
    if hasattr(kind, "element_type"):
        return [_shape(kind.element_type)]
    return [_shape(kind.key_type), _shape(kind.value_type)]
