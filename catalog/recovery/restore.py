"""Make the catalog's database what it was: the newest committed state of each table, or on purpose the older one of a backup.

Going forward loses nothing: offsets lie in the tables' snapshots, so the stream job goes on behind what the tables hold. Going back
makes it read again from Kafka what came since; it is refused where Kafka no longer has that. The older state is put on top, as
a new metadata file with the highest number, so that it is the newest one for whoever looks at the bucket later.
"""

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from uuid import uuid4

import orjson
import psycopg
from pyarrow.fs import FileSelector, FileSystem

from catalog import names
from catalog.errors import SluiceError
from catalog.kafka_offsets import topic_bounds
from catalog.lake import database_refusal, file_system, open_catalog, prepare
from catalog.lease import Lease
from catalog.recovery.backup import TABLE, VIEW, Backup, Pointer
from catalog.recovery.metadata_files import (
    MetadataFile,
    Newest,
    folder_of,
    missing,
    namespace_folders,
    newest,
    numbered,
    read,
    without_scheme,
)
from catalog.settings import LakeSettings

REGISTERED, MOVED, LEFT, LOST, REBUILT = "registered", "moved", "left", "lost", "rebuilt"
# Gold is made of silver, and its folders don't have the names of its tables.
FOUND_IN_BUCKET = (*names.LAYERS, names.OPS)
# Seconds of silence after which the holder of a lease is dead.
PATIENCE = 60.0
SERVERS_ALONE = (
    "Have the servers run alone; on this machine: `sluice down`, then `sluice up --only postgres,minio,kafka`"
)


@dataclass(frozen=True)
class Step:
    """What becomes of one name. `was` is where the catalog pointed before, `file` where it points afterwards."""

    namespace: str
    name: str
    kind: str
    outcome: str
    file: MetadataFile | None = None
    was: str | None = None
    note: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def identifier(self) -> str:
        return f"{self.namespace}.{self.name}"


@contextmanager
def nobody_writes(settings: LakeSettings) -> Iterator[None]:
    """Holds the leases of the stream job and of maintenance. Raises SluiceError where one of them runs."""
    with ExitStack() as held:
        for purpose, what in (("stream", "A stream job"), ("maintenance", "A round of maintenance")):
            try:
                lease = held.enter_context(closing(Lease(settings, purpose, PATIENCE)))
            except psycopg.Error as failure:
                raise SluiceError(f"{database_refusal(settings.catalog_uri, failure)}. {SERVERS_ALONE}") from None
            if not lease.acquire():
                raise SluiceError(
                    f"{what} is at work on this lake, and would go on from what is replaced. {SERVERS_ALONE}"
                )
        yield


def planned(
    settings: LakeSettings, backup: Backup | None, exactly: bool = False, at: Callable[[str], None] = lambda _: None
) -> list[Step]:
    """What would be done. `at` is told each table that is looked at."""
    prepare(settings)
    files, properties = file_system(settings), open_catalog(settings).properties
    present = _present(settings)
    steps = []
    for pointer in _wanted(settings, files, backup):
        at(pointer.identifier)
        steps.append(_step(files, properties, pointer, present.get(pointer.identifier), exactly))
    if exactly:
        _refuse_lost(steps)
        asyncio.run(_refuse_gone_from_kafka(settings, steps))
    return steps


def carried_out(settings: LakeSettings, steps: list[Step], backup: Backup | None, exactly: bool = False) -> list[Step]:
    """Point the catalog at what was planned, all in one transaction.

    Raises SluiceError where somebody else changed it meanwhile.
    """
    files = file_system(settings)
    done = [_on_top(files, step) if exactly else step for step in steps]
    try:
        with psycopg.connect(settings.catalog_uri, connect_timeout=10) as connection:
            for namespace, pairs in (backup.properties if backup else {}).items():
                for key, value in pairs.items():
                    connection.execute(
                        "insert into iceberg_namespace_properties values (%s, %s, %s, %s) on conflict do nothing",
                        (settings.catalog_name, namespace, key, value),
                    )
            for step in done:
                _point(connection, settings.catalog_name, step)
    except psycopg.Error as failure:
        raise SluiceError(database_refusal(settings.catalog_uri, failure)) from None
    return done


def _wanted(settings: LakeSettings, files: FileSystem, backup: Backup | None) -> list[Pointer]:
    """The backup's tables and views, and what the bucket holds beside them: tables that were made after it."""
    known = {pointer.identifier: pointer for pointer in (backup.pointers if backup else ())}
    for namespace in FOUND_IN_BUCKET:
        for folder in namespace_folders(settings.warehouse, namespace):
            for found in files.get_file_info(FileSelector(without_scheme(folder), allow_not_found=True)):
                location = f"{folder}/{found.base_name}"
                if f"{namespace}.{found.base_name}" not in known and numbered(files, location):
                    pointer = Pointer(namespace, found.base_name, TABLE, f"{location}/metadata/", "")
                    known[pointer.identifier] = pointer
    return [known[name] for name in sorted(known)]


def _present(settings: LakeSettings) -> dict[str, str]:
    with psycopg.connect(settings.catalog_uri, connect_timeout=10) as connection:
        rows = connection.execute(
            "select table_namespace || '.' || table_name, metadata_location from iceberg_tables where catalog_name = %s",
            (settings.catalog_name,),
        ).fetchall()
    return dict(rows)


def _step(files: FileSystem, properties: Mapping[str, str], wanted: Pointer, was: str | None, exactly: bool) -> Step:
    step = Step(wanted.namespace, wanted.name, wanted.kind, LEFT, was=was)
    gold = wanted.namespace == names.GOLD
    if gold and exactly:
        return replace(step, outcome=REBUILT, note="made anew of silver")
    found = _exact(files, properties, wanted) if exactly and wanted.uuid else _last(files, properties, wanted)
    if found is None:
        if gold:
            return replace(step, outcome=REBUILT, note="its files are gone; made anew of silver")
        return replace(step, outcome=LOST, note=f"no whole state of it is in {folder_of(wanted.metadata_location)}")
    step = replace(step, file=found.file, refused=found.refused)
    if was == found.file.path:
        return step
    if was is None:
        return replace(step, outcome=REGISTERED)
    now = _readable(files, was)
    if now is not None and now.uuid != found.file.uuid:
        if now.rows is not None:
            return replace(step, file=now, note="another table has its name by now, and holds rows; it stays as it is")
        return replace(step, outcome=MOVED, note="an empty table had its name")
    return replace(step, outcome=MOVED, note="" if now else "what the catalog pointed to is gone")


def _last(files: FileSystem, properties: Mapping[str, str], wanted: Pointer) -> Newest | None:
    if wanted.kind == VIEW:  # never deleted by a commit, and made by one writer
        found = _readable(files, wanted.metadata_location)
        return Newest(found, {}) if found else None
    return newest(files, properties, folder_of(wanted.metadata_location), wanted.uuid or None)


def _exact(files: FileSystem, properties: Mapping[str, str], wanted: Pointer) -> Newest | None:
    found = _readable(files, wanted.metadata_location)
    return Newest(found, {}) if found and not missing(files, properties, found) else None


def _readable(files: FileSystem, path: str) -> MetadataFile | None:
    try:
        return read(files, path)
    except (OSError, ValueError):
        return None


def _refuse_lost(steps: list[Step]) -> None:
    lost = [step.identifier for step in steps if step.outcome == LOST]
    if lost:
        raise SluiceError(
            f"The state of the backup is no longer there for {', '.join(lost)}: a table's metadata file is deleted twenty commits "
            "later. Leave out --exactly: the newest state loses nothing"
        )


async def _refuse_gone_from_kafka(settings: LakeSettings, steps: list[Step]) -> None:
    """Bronze that goes back is filled from Kafka again, so Kafka must have all of it."""
    back = {step.name: step.file.offsets for step in steps if step.namespace == names.BRONZE and step.file is not None}
    bounds = await topic_bounds(settings, map(names.topic, back))
    for stream, offsets in back.items():
        topic = bounds.get(names.topic(stream), {})
        for partition, wanted in offsets.items():
            begin, end = topic.get(partition, (0, 0))
            if not begin <= wanted <= end:
                raise SluiceError(
                    f"bronze.{stream} would go back to offset {wanted} of partition {partition}, and Kafka has offsets "
                    f"{begin} to {end - 1} only: what is between would be lost. Leave out --exactly"
                )


def _on_top(files: FileSystem, step: Step) -> Step:
    """The older state as a metadata file of its own, with the highest number of the folder."""
    if step.file is None or step.outcome not in (REGISTERED, MOVED):
        return step
    location = folder_of(step.file.path)
    version = max(numbered(files, location).values())
    if version == step.file.version:
        return step
    log = [*(step.file.document.get("metadata-log") or [])]
    log.append({"timestamp-ms": step.file.updated, "metadata-file": step.file.path})
    document = {**step.file.document, "metadata-log": log, "last-updated-ms": int(time.time() * 1000)}
    path = f"{location}/metadata/{version + 1:05d}-{uuid4()}.gz.metadata.json"
    with files.open_output_stream(without_scheme(path), compression=None) as stream:
        stream.write(gzip.compress(orjson.dumps(document)))
    return replace(step, file=MetadataFile(path, version + 1, document))


def _point(connection: "psycopg.Connection[tuple[object, ...]]", catalog: str, step: Step) -> None:
    if step.file is None or step.outcome not in (REGISTERED, MOVED):
        return
    row = (step.file.path, step.file.previous, catalog, step.namespace, step.name)
    if step.was is None:
        changed = connection.execute(
            "insert into iceberg_tables (metadata_location, previous_metadata_location, catalog_name, table_namespace, table_name, "
            "iceberg_type) values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
            (*row, step.kind),
        )
    else:
        changed = connection.execute(
            "update iceberg_tables set metadata_location = %s, previous_metadata_location = %s "
            "where catalog_name = %s and table_namespace = %s and table_name = %s and metadata_location = %s",
            (*row, step.was),
        )
    if changed.rowcount != 1:
        raise SluiceError(
            f"{step.identifier}: somebody else has changed the catalog meanwhile; nothing was done. End what writes, and try again"
        )
