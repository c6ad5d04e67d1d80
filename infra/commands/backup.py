"""`sluice backup`: keep what the catalog's database knows."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from catalog.recovery import backup as backups
from catalog.settings import lake_settings
from infra.commands.servers import needed


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; one that is there is replaced.")],
    as_json: Annotated[bool, typer.Option("--json", help="What was kept, as one object.")] = False,
) -> None:
    """Write which tables the catalog knows, with their folders, to a file. The tables' data stays where it is, in the bucket.

    Nothing is stopped for it. A file of last week is as good as one of today, unless tables were made since, and then
    those are found in the bucket. It holds no password and no row.

    Exit code: 0 done, 1 a server is away or a table's metadata can't be read, 2 wrong usage. Example: ./sluice backup catalog.json
    """
    with needed():
        kept = backups.taken(lake_settings())
        backups.write(kept, file)
    kinds = Counter(pointer.kind for pointer in kept.pointers)
    tables, views = kinds[backups.TABLE], kinds[backups.VIEW]
    if as_json:
        print(json.dumps({"file": str(file), "made_at": kept.made_at, "tables": tables, "views": views}))
    else:
        print(f"{tables} tables and {views} views in {file}. Keep it where neither PostgreSQL nor the bucket is.")
