"""Files to records: CSV, JSON, NDJSON, GeoJSON and Parquet, plain or gzipped, read lazily."""

import gzip
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, cast

from catalog.contract import Stream
from catalog.errors import SluiceError
from ingest_gateway import readers

Format = Literal["csv", "tsv", "json", "ndjson", "geojson", "parquet"]
FORMATS: tuple[Format, ...] = ("csv", "tsv", "json", "ndjson", "geojson", "parquet")
SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".jsonlines": "ndjson",
    ".geojson": "geojson", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
HEAD = 64 << 10
COLLECTION = re.compile(rb'"type"\s*:\s*"FeatureCollection"')
KEY = re.compile(rb'\{\s*(\}|")')


@dataclass
class Source:
    """An opened file. `records` can be read once; `done` and `total` are bytes of the file (rows for Parquet)."""

    name: str
    format: Format
    records: Iterator[readers.Record]
    total: int | None
    done: Callable[[], int]
    unit: Literal["bytes", "rows"] = "bytes"
    unknown: list[str] = field(
        default_factory=list
    )  # headers that no column of the contract has; known at the first record
    close: Callable[[], None] = lambda: None


class _Counted(io.RawIOBase):
    """Counts the bytes that were read from a file, below decompression and buffering."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = self.file.read1(len(buffer)) if hasattr(self.file, "read1") else self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


@dataclass(frozen=True)
class Place:
    """Where a file's bytes are. `read` gives them from the beginning; `seek` gives a file that can be sought, for formats whose
    index is at the end; without it such a file is copied first. Both may raise OSError."""

    address: str
    size: int | None
    read: Callable[[], BinaryIO]
    seek: Callable[[], BinaryIO] | None = None


def open_source(path: str, stream: Stream | None, form: str | None = None) -> Source:
    """Open a file of this machine, or standard input for `-`. Raises SluiceError."""
    return open_place(_place(path), stream, form)


def open_place(place: Place, stream: Stream | None, form: str | None = None) -> Source:
    """Open a file, wherever it is. CSV and Parquet need the contract for headers and types. Raises SluiceError.

    The format is `form`, else what the name ends in, else what the first bytes look like. `.json` is looked at, too: an
    array, a FeatureCollection, one object, or lines.
    """
    known_format(form)
    name = PurePosixPath(place.address).name
    try:
        file = place.read()
    except OSError as failure:
        raise SluiceError(f"{place.address} cannot be read: {failure.strerror or failure}") from None
    counted = _Counted(file)
    buffered = cast(BinaryIO, io.BufferedReader(counted, HEAD))
    head = _peek(buffered)
    if unpacked := head[:2] == b"\x1f\x8b":
        buffered = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered)), HEAD))
        head = _peek(buffered)
        name = name.removesuffix(".gz")
    chosen = cast(Format, form) if form else SUFFIXES.get(Path(name).suffix.lower()) or sniff(head)
    source = Source(name, chosen, iter(()), place.size, lambda: counted.count, close=file.close)
    if chosen == "parquet":
        plain = place.seek if not unpacked else None
        _parquet(source, plain() if plain else _copied(buffered), _needed(stream, chosen))
    elif chosen in ("csv", "tsv"):
        tab = "\t" if chosen == "tsv" else None
        source.records = readers.csv_rows(buffered, name, _needed(stream, chosen), source.unknown, tab)
    elif chosen == "ndjson":
        source.records = readers.lines(buffered, name)
    else:
        source.records = readers.elements(buffered, name, "features" if chosen == "geojson" else None)
    return source


def known_format(form: str | None) -> None:
    """Raises SluiceError where somebody named a format that there isn't."""
    if form is not None and form not in FORMATS:
        raise SluiceError(f"--format {form}: expected one of {', '.join(FORMATS)}")


def sniff(head: bytes) -> Format:
    """The format that a file's first bytes look like; CSV where nothing else fits."""
    if head[:4] == b"PAR1":
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"[":
        return "json"
    if KEY.match(text):
        if COLLECTION.search(text):
            return "geojson"
        first, _, rest = text.partition(b"\n")
        return "ndjson" if rest.strip() and readers.is_json(first) else "json"
    return "csv"


def _place(path: str) -> Place:
    if path == "-":
        return Place("standard input", None, lambda: sys.stdin.buffer)
    file = Path(path)
    size = file.stat().st_size if file.is_file() else None
    # Both are closed by Source.close, or with the process.
    return Place(path, size or None, lambda: cast(BinaryIO, open(path, "rb", buffering=0)), lambda: open(path, "rb"))


def _peek(file: BinaryIO) -> bytes:
    try:
        return cast(io.BufferedReader, file).peek(HEAD)
    except (OSError, EOFError) as failure:
        raise SluiceError(f"cannot be read: {failure}") from None


def _needed(stream: Stream | None, form: str) -> Stream:
    if stream is None:
        raise SluiceError(
            f"{form.upper()} is typed by the stream's contract, and there is none here: see SLUICE_CONTRACTS"
        )
    return stream


def _copied(file: BinaryIO) -> BinaryIO:
    spool = tempfile.TemporaryFile()  # noqa: SIM115  (vanishes with the process)
    while block := file.read(1 << 20):
        spool.write(block)
    return cast(BinaryIO, spool)


def _parquet(source: Source, file: BinaryIO, stream: Stream) -> None:
    rows = readers.ParquetRows(file, source.name, stream, source.unknown)
    source.records, source.total, source.unit = rows.records(), rows.total, "rows"
    source.done = lambda: rows.count
