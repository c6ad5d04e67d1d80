"""What each of Trino's users may do: the rules of its file-based access control, made from the contracts.

A table that no rule names is closed to readers, so a stream that is newer than the rules shows them nothing. Masks follow the
contracts' `classification`. The tables `$files`, `$partitions` and so on of a table hold bounds of its columns, masked or not, and
are closed to readers too.

Trino asks nobody's leave for `alter table … execute`, by which rows come back that were corrected, and files go that are about to
be committed. It refuses it where rows are filtered: so whoever may only read reads through a filter that lets every row pass.
"""

from collections.abc import Iterable
from typing import Any

from catalog.contract import Column, Stream
from catalog.names import GOLD, SILVER
from infra.access.accounts import OPERATOR

OPERATORS, BUILDERS, EXPLORERS, ENGINEERS, READERS = "operators", "builders", "explorers", "engineers", "readers"
EVERYTHING = ["SELECT", "INSERT", "DELETE", "UPDATE", "OWNERSHIP", "GRANT_SELECT"]
MASK = "***"
READ_ONLY = {"privileges": ["SELECT"], "filter": "true"}


def rules(streams: Iterable[Stream]) -> dict[str, Any]:
    """The document for `security.config-file`. In each list the first rule that matches decides; none that does means no."""
    return {
        "catalogs": [
            {"group": f"{OPERATORS}|{BUILDERS}", "allow": "all"},
            {"group": f"{EXPLORERS}|{ENGINEERS}|{READERS}", "allow": "read-only"},
        ],
        "schemas": [
            {"group": OPERATORS, "owner": True},
            {"group": BUILDERS, "schema": GOLD, "owner": True},
            {"owner": False},
        ],
        "tables": [
            {"group": OPERATORS, "privileges": EVERYTHING},
            {"group": BUILDERS, "schema": GOLD, "privileges": EVERYTHING},
            {"group": BUILDERS, **READ_ONLY, "privileges": ["SELECT", "GRANT_SELECT"]},
            {"group": f"{EXPLORERS}|{ENGINEERS}", **READ_ONLY},
            # What JDBC and ODBC clients ask for to list tables.
            {"group": READERS, "catalog": "system", "schema": "jdbc|metadata", "privileges": ["SELECT"]},
            {"group": READERS, "schema": GOLD, "table": "[^$]*", **READ_ONLY},
            *(_readable(stream) for stream in streams),
            {"privileges": []},
        ],
        "queries": [{"group": OPERATORS, "allow": ["execute", "kill", "view"]}, {"allow": ["execute"]}],
        # By these a reader would shorten what keeps files of late from `remove_orphan_files`, for one.
        "catalog_session_properties": [{"group": OPERATORS, "allow": True}, {"allow": False}],
        "system_information": [{"user": OPERATOR, "allow": ["read"]}],  # knows no groups
    }


def masks(columns: Iterable[Column]) -> dict[str, str]:
    """Column → SQL that readers see in its place. Text shows that it is there; any other type is null."""
    return {column.name: _mask(column) for column in columns if column.sensitive}


def _readable(stream: Stream) -> dict[str, Any]:
    masked = [{"name": name, "mask": mask} for name, mask in masks(stream.columns).items()]
    return {
        "group": READERS, "schema": SILVER, "table": stream.name, **READ_ONLY,
        **({"columns": masked} if masked else {}),
    }  # fmt: skip


def _mask(column: Column) -> str:
    if column.logical_type not in ("string", "time"):
        return "NULL"
    name = '"' + column.name.replace('"', '""') + '"'
    return f"CASE WHEN {name} IS NOT NULL THEN '{MASK}' END"
