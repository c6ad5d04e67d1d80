"""What is kept of the catalog's database: the names, kinds and folders of the tables and where each was, and the namespaces.

Not much ages in it. A table's metadata file is deleted twenty commits later, which a stream that flows makes in half a minute:
the newest one is looked for in the table's folder, and the backup says which folders and which table (its UUID) belong to a name.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from catalog.errors import SluiceError
from catalog.lake import database_refusal, file_system
from catalog.recovery.metadata_files import read
from catalog.settings import LakeSettings

FORMAT = 1
VIEW, TABLE = "VIEW", "TABLE"


@dataclass(frozen=True)
class Pointer:
    """One row of the JDBC catalog: a name, and the metadata file that it stands for."""

    namespace: str
    name: str
    kind: str
    metadata_location: str
    uuid: str

    @property
    def identifier(self) -> str:
        return f"{self.namespace}.{self.name}"


@dataclass(frozen=True)
class Backup:
    """The catalog at one moment: all rows were read in one transaction."""

    made_at: str
    catalog_name: str
    warehouse: str
    pointers: tuple[Pointer, ...]
    properties: Mapping[str, Mapping[str, str]]  # namespace → its properties


def taken(settings: LakeSettings) -> Backup:
    """The catalog as it is now. Raises SluiceError where a table's metadata can't be read: such a backup would promise too much."""
    rows, properties = _rows(settings)
    files = file_system(settings)
    pointers = []
    for namespace, name, kind, location in rows:
        try:
            uuid = read(files, location).uuid
        except (OSError, ValueError) as failure:
            raise SluiceError(
                f"{namespace}.{name}: its metadata file {location} cannot be read ({failure}). See `sluice restore --help`"
            ) from None
        pointers.append(Pointer(namespace, name, kind or TABLE, location, uuid))
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Backup(made_at, settings.catalog_name, settings.warehouse, tuple(pointers), properties)


def write(backup: Backup, file: Path) -> None:
    """All of it or nothing. Raises OSError."""
    fresh = file.with_name(f".{file.name}.new")
    with fresh.open("w") as content:
        json.dump({"format": FORMAT, **asdict(backup)}, content, indent=1)
        content.flush()
        os.fsync(content.fileno())
    fresh.replace(file)


def load(file: Path, settings: LakeSettings) -> Backup:
    """Raises SluiceError where the file is no backup, or one of another lake."""
    try:
        document: dict[str, Any] = json.loads(file.read_text())
        form = document.pop("format")
        pointers = tuple(Pointer(**fields) for fields in document.pop("pointers"))
        backup = Backup(pointers=pointers, **document)
    except OSError as failure:
        raise SluiceError(f"{file} cannot be read: {failure.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SluiceError(
            f"{file} is no backup of a catalog: name a file that `sluice backup` wrote, or `--from-bucket`"
        ) from None
    if form != FORMAT:
        raise SluiceError(f"{file} is a backup of format {form}; this release reads format {FORMAT}")
    if (backup.catalog_name, backup.warehouse) != (settings.catalog_name, settings.warehouse):
        raise SluiceError(
            f"{file} is of catalog {backup.catalog_name!r} over {backup.warehouse}, and this lake is "
            f"{settings.catalog_name!r} over {settings.warehouse}: see SLUICE_CATALOG_NAME and SLUICE_WAREHOUSE"
        )
    return backup


def _rows(settings: LakeSettings) -> tuple[list[tuple[str, str, str | None, str]], dict[str, dict[str, str]]]:
    try:
        with psycopg.connect(settings.catalog_uri, connect_timeout=10) as connection:
            connection.execute("set transaction isolation level repeatable read read only")
            rows = connection.execute(
                "select table_namespace, table_name, iceberg_type, metadata_location from iceberg_tables "
                "where catalog_name = %s order by 1, 2",
                (settings.catalog_name,),
            ).fetchall()
            known = connection.execute(
                "select namespace, property_key, property_value from iceberg_namespace_properties where catalog_name = %s",
                (settings.catalog_name,),
            ).fetchall()
    except psycopg.errors.UndefinedTable:
        raise SluiceError(
            "The catalog's database holds no catalog: was it lost? `sluice restore --from-bucket`"
        ) from None
    except psycopg.Error as failure:
        raise SluiceError(database_refusal(settings.catalog_uri, failure)) from None
    properties: dict[str, dict[str, str]] = {}
    for namespace, key, value in known:
        properties.setdefault(namespace, {})[key] = value
    return list(rows), properties
