"""Where fetched servers live: a cache outside the checkout that every checkout of this user shares."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARKER = ".complete"


def cache_folder() -> Path:
    """`$SLUICE_CACHE`, else `$XDG_CACHE_HOME/sluice`, else `~/.cache/sluice` (the launcher has the same rule)."""
    if named := os.environ.get("SLUICE_CACHE"):
        return Path(named).absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "sluice"
    return Path.home() / ".cache" / "sluice"


def is_complete(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def mark_complete(folder: Path, facts: dict[str, object]) -> None:
    """Say that a folder is whole; written last, so that an interrupted fetch never looks finished."""
    (folder / MARKER).write_text(json.dumps(facts, indent=1) + "\n")


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file while the block runs; others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def size_of(folder: Path) -> int:
    """Bytes of all regular files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total
