"""Files to records: CSV, JSON, NDJSON, GeoJSON and Parquet, plain or gzipped, read lazily."""

import gzip
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
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


def open_source(path: str, stream: Stream | None, form: str | None = None) -> Source:
    """Open a file, or standard input for `-`. CSV and Parquet need the contract for headers and types. Raises SluiceError.

    The format is `form`, else what the name ends in, else what the first bytes look like. `.json` is looked at, too: an
    array, a FeatureCollection, one object, or lines.
    """
    if form is not None and form not in FORMATS:
        raise SluiceError(f"--format {form}: expected one of {', '.join(FORMATS)}")
    file, total = _opened(path)
    counted = _Counted(file)
    buffered = cast(BinaryIO, io.BufferedReader(counted, HEAD))
    name = Path(path).name if path != "-" else "standard input"
    head = _peek(buffered)
    if head[:2] == b"\x1f\x8b":
        buffered = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered)), HEAD))
        head = _peek(buffered)
        name = name.removesuffix(".gz")
    chosen = cast(Format, form) if form else SUFFIXES.get(Path(name).suffix.lower()) or sniff(head)
    source = Source(name, chosen, iter(()), total, lambda: counted.count, close=file.close)
    if chosen == "parquet":
        _parquet(source, path, buffered, _needed(stream, chosen))
    elif chosen in ("csv", "tsv"):
        tab = "\t" if chosen == "tsv" else None
        source.records = readers.csv_rows(buffered, name, _needed(stream, chosen), source.unknown, tab)
    elif chosen == "ndjson":
        source.records = readers.lines(buffered, name)
    else:
        source.records = readers.elements(buffered, name, "features" if chosen == "geojson" else None)
    return source


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


def _opened(path: str) -> tuple[BinaryIO, int | None]:
    if path == "-":
        return sys.stdin.buffer, None
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed by Source.close)
        return cast(BinaryIO, file), Path(path).stat().st_size or None
    except OSError as failure:
        raise SluiceError(f"{path} cannot be read: {failure.strerror}") from None


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


def _parquet(source: Source, path: str, file: BinaryIO, stream: Stream) -> None:
    # Parquet's index is at the end, so what cannot be sought is copied to a file that vanishes with the process.
    if path == "-" or Path(path).name != source.name:
        spool = tempfile.TemporaryFile()  # noqa: SIM115
        while block := file.read(1 << 20):
            spool.write(block)
        file = cast(BinaryIO, spool)
    else:
        file = open(path, "rb")  # noqa: SIM115
    rows = readers.ParquetRows(file, source.name, stream, source.unknown)
    source.records, source.total, source.unit = rows.records(), rows.total, "rows"
    source.done = lambda: rows.count
