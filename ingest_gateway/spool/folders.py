"""One folder a process: `00`, `01`, … below the spool's, each locked by the one who uses it."""

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import SluiceError
from ingest_gateway.spool.segments import ASIDE, SUFFIX, recovered, sync_folder

LOCK = "lock"
MOST = 1000


@dataclass(frozen=True)
class Slot:
    """A folder that this process has to itself, until `release` or its death."""

    folder: Path
    _lock: int

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def streams(self) -> list[Path]:
        """The folders of the streams that have segments here."""
        return streams(self.folder)


def prepare(root: Path) -> None:
    """Make the spool's folder. Raises SluiceError where it cannot be written to."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(root.parent)
        probe(root)
    except OSError as failure:
        raise SluiceError(
            f"SLUICE_GATEWAY_SPOOL={str(root)!r} cannot be written to ({failure.strerror}): name a folder of the gateway's own on "
            "a disk with room, or none to do without a spool"
        ) from None


def probe(folder: Path) -> None:
    """Write and sync something there. Raises OSError."""
    path = folder / f".probe-{os.getpid()}"
    try:
        with path.open("wb") as file:
            file.write(bytes(64 << 10))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def claim(root: Path) -> Slot:
    """The first folder that nobody uses: that of a process that died, if one did, else a new one. Raises OSError."""
    for number in range(MOST):
        folder = root / f"{number:02d}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if (slot := try_claim(folder)) is not None:
            sync_folder(root)
            return slot
    raise OSError(f"{MOST} processes use {root}")


def try_claim(folder: Path) -> Slot | None:
    """The folder, unless a process uses it. Raises OSError."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return Slot(folder, lock)


def user(folder: Path) -> str | None:
    """The pid of the process that uses a folder, or None where nobody does."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(lock, 20).decode("ascii", "replace") or "?"
    else:
        return None
    finally:
        os.close(lock)


def slots(root: Path) -> list[Path]:
    """All folders of processes, used or not."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path for path in root.iterdir() if path.name.isdigit() and path.is_dir())
    return []


def streams(slot: Path) -> list[Path]:
    """The folders of the streams that have segments in a process's folder."""
    return sorted(path for path in slot.iterdir() if path.is_dir() and any(path.glob(f"*{SUFFIX}")))


class Aside:
    """How many events of each stream are set aside below a spool's folder, in all processes' folders. Files are read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[tuple[Path, int], int] = {}  # events, by file and size

    def events(self) -> dict[str, int]:
        """By stream. Raises OSError."""
        seen: dict[tuple[Path, int], int] = {}
        found: Counter[str] = Counter()
        for path in self._root.glob(f"*/*/*{SUFFIX}{ASIDE}"):
            with contextlib.suppress(FileNotFoundError):  # it was put back meanwhile
                mark = (path, path.stat().st_size)
                seen[mark] = self._seen[mark] if mark in self._seen else recovered(path)[0].events
                found[path.parent.name] += seen[mark]
        self._seen = seen
        return dict(sorted(found.items()))


def orphans(root: Path) -> Iterator[Slot]:
    """Claim each folder that holds segments and that nobody uses."""
    for folder in slots(root):
        if streams(folder) and (slot := try_claim(folder)) is not None:
            yield slot
