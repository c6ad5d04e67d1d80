"""Files of history: found on the disk or in the object store, and where their refused records go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from catalog.errors import SluiceError
from catalog.lake import file_system
from catalog.settings import LakeSettings
from ingest_gateway.sources import SUFFIXES, Place

REJECTED = ".rejected.ndjson"
S3 = "s3://"
READ_AHEAD = 4 << 20  # bytes: each read of an object is a request


@dataclass(frozen=True)
class HistoryFile:
    """A file as it was when it was found. One that is changed has another `version`, and so is another file."""

    address: str  # the whole path, or s3://BUCKET/KEY
    below: str  # the same from the source on that it was found in
    size: int
    version: str
    files: FileSystem
    path: str  # as `files` calls it

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.address, self.version

    @property
    def place(self) -> Place:
        """For `open_place`."""
        return Place(self.address, self.size or None, self._read, self._seek)

    def _read(self) -> BinaryIO:
        # Compressed files are unpacked by who reads them.
        return cast(BinaryIO, self.files.open_input_stream(self.path, compression=None, buffer_size=READ_AHEAD))

    def _seek(self) -> BinaryIO:
        return cast(BinaryIO, self.files.open_input_file(self.path))


def find(sources: Sequence[str], settings: LakeSettings) -> tuple[list[HistoryFile], list[str]]:
    """The files in the order of their addresses, each once, and what stands in the folders and is none. Raises SluiceError.

    A source is a file of any name, or a folder, of which all files are taken whose names say their format, and in folders below it.
    Names that begin with a dot or an underscore are other programs' marks, and empty files hold nothing.
    """
    found: dict[str, HistoryFile] = {}
    others: set[str] = set()
    for source in sources:
        files, path = located(source, settings)
        info = files.get_file_info(path)
        if info.type == FileType.File:
            one = _described(info, PurePosixPath(path).parent, files, source)
            found[one.address] = one
        elif info.type == FileType.Directory:
            for info in files.get_file_info(FileSelector(path, recursive=True)):
                if info.type == FileType.File:
                    one = _described(info, PurePosixPath(path), files, source)
                    if _is_history(one):
                        found[one.address] = one
                    else:
                        others.add(one.address)
        else:
            raise SluiceError(f"{source}: there is no such file or folder")
    return [found[address] for address in sorted(found)], sorted(others - set(found))


def located(address: str, settings: LakeSettings) -> tuple[FileSystem, str]:
    """Who keeps the file or folder, and its path there. Objects are in the lake's store, asked with the lake's credentials."""
    if not address.startswith(S3):
        return LocalFileSystem(), str(Path(address).expanduser().absolute())
    if not (path := address.removeprefix(S3).rstrip("/")):
        raise SluiceError(f"{address}: expected s3://BUCKET/PREFIX")
    return file_system(settings), path


class Rejects:
    """The refused records of one file: made with the first of them, whole when it is closed."""

    def __init__(self, file: HistoryFile, folder: str | None, settings: LakeSettings) -> None:
        """`folder`: where to, a path or s3://BUCKET/PREFIX; None: beside the file."""
        self.address = f"{folder.rstrip('/')}/{file.below}{REJECTED}" if folder else f"{file.address}{REJECTED}"
        self._files, self._path = located(self.address, settings)
        self._file: IO[bytes] | None = None

    def write(self, line: bytes) -> None:
        """Raises SluiceError where it can't be kept."""
        try:
            if self._file is None:
                if isinstance(self._files, LocalFileSystem):
                    self._files.create_dir(str(Path(self._path).parent))
                self._file = cast(IO[bytes], self._files.open_output_stream(self._path))
            self._file.write(line)
        except OSError as failure:
            raise self._refused(failure) from None

    def close(self, finished: bool) -> str | None:
        """The address if any was refused. What an earlier run left is removed when all are taken by now."""
        try:
            if self._file is not None:
                self._file.close()
                return self.address
            if finished and self._files.get_file_info(self._path).type == FileType.File:
                self._files.delete_file(self._path)
        except OSError as failure:
            raise self._refused(failure) from None
        return None

    def _refused(self, failure: OSError) -> SluiceError:
        return SluiceError(f"{self.address} cannot be written: {failure}. Name another folder by --rejected")


def _described(info: FileInfo, base: PurePosixPath, files: FileSystem, source: str) -> HistoryFile:
    changed = info.mtime.isoformat() if info.mtime else ""
    address = f"{S3}{info.path}" if source.startswith(S3) else info.path
    below = str(PurePosixPath(info.path).relative_to(base))
    return HistoryFile(address, below, info.size, f"{info.size} bytes, {changed}", files, info.path)


def _is_history(file: HistoryFile) -> bool:
    hidden = any(part.startswith((".", "_")) for part in PurePosixPath(file.below).parts)
    suffix = PurePosixPath(file.below.removesuffix(".gz")).suffix.lower()
    is_data = (suffix == ".json" or suffix in SUFFIXES) and not file.below.endswith(REJECTED)
    return is_data and not hidden and file.size > 0
