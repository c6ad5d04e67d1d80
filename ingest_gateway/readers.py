"""One reader for each kind of file. Each yields records in the file's order and holds a bounded part of it in memory."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec
import orjson

from catalog.contract import Stream
from catalog.errors import SluiceError
from ingest_gateway import cells
from ingest_gateway.typed_text import typed

MAX_LINE = 16 << 20  # bytes; far above what a gateway takes, far below what a machine holds
BOM, LF = b"\xef\xbb\xbf", b"\n"
BYTE = re.compile(r"\(byte (\d+)\)")


@dataclass(frozen=True)
class Record:
    """One record of a file: its payload, where it is ("line 7"), and why it cannot be sent, if it cannot."""

    payload: bytes
    position: str
    fault: str | None = None


class _Collection(msgspec.Struct):
    features: list[msgspec.Raw] | None = None


def is_json(text: bytes) -> bool:
    """Whether these bytes are one JSON text in UTF-8."""
    return _fault(text) is None


def lines(file: BinaryIO, name: str) -> Iterator[Record]:
    """NDJSON. A line that is not JSON is a record with a fault: the others do not suffer from it."""
    for number, line in _numbered(file, name):
        payload = line.strip()
        if payload:
            yield Record(payload, f"line {number}", _fault(payload))


def elements(file: BinaryIO, name: str, member: str | None) -> Iterator[Record]:
    """The elements of a JSON array, the features of a FeatureCollection, or one object, each by its own bytes.

    The text is held in memory once (not its values). Raises SluiceError with the line where it is not JSON.
    """
    text = file.read().removeprefix(BOM)
    try:
        if member or text.lstrip()[:1] == b"[":
            yield from _split(text, name, member)
            return
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as failure:
        raise SluiceError(f"{name}, {_line_of(text, str(failure))}: {_plain(str(failure))}") from None
    yield Record(text.strip(), "record 1", _fault(text.strip()))


def _split(text: bytes, name: str, member: str | None) -> Iterator[Record]:
    if member:
        found = msgspec.json.decode(text, type=_Collection).features
        if found is None:
            raise SluiceError(f"{name} has no features: it is no GeoJSON FeatureCollection")
    else:
        found = msgspec.json.decode(text, type=list[msgspec.Raw])
    kind = "feature" if member else "record"
    for number, raw in enumerate(found, 1):
        payload = bytes(raw)
        yield Record(payload, f"{kind} {number}", _fault(payload))


def csv_rows(file: BinaryIO, name: str, stream: Stream, unknown: list[str], delimiter: str | None) -> Iterator[Record]:
    """CSV by RFC 4180 with a header line; delimiter `,`, `;` or tab by the header. Raises SluiceError with the line.

    A row with more or fewer cells than the header has a fault.
    """
    texts = _Texts(file, name)
    first = next(texts, None)
    if first is None or not first.strip():
        raise SluiceError(f"{name} has no header: the first line must name the columns")
    texts.push(first)
    csv.field_size_limit(MAX_LINE)
    rows = csv.reader(texts, delimiter=delimiter or max(",;\t", key=first.count), strict=True)
    names: list[str] = []
    try:
        names = next(rows)
        header = cells.header(names, stream)
        unknown.extend(header.unknown)
        start = texts.number + 1
        for row in rows:
            position, start = f"line {start}", texts.number + 1
            if not row:
                continue
            if len(row) != len(names):
                yield Record(orjson.dumps(row), position, f"has {len(row)} cells where the header has {len(names)}")
            else:
                yield Record(header.payload(row, typed), position)
    except csv.Error as failure:
        raise SluiceError(f"{name}, line {start if names else 1}: not CSV: {failure}") from None
    except SluiceError as failure:
        raise SluiceError(str(failure) if str(failure).startswith(name) else f"{name}: {failure}") from None


class _Texts(Iterator[str]):
    """A file's lines as text, with the number of the line that was read last."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._lines = _numbered(file, name)
        self._name = name
        self._pushed: str | None = None
        self.number = 0

    def push(self, line: str) -> None:
        """Give a line back, to be read next."""
        self._pushed = line

    def __next__(self) -> str:
        if self._pushed is not None:
            line, self._pushed = self._pushed, None
            return line
        self.number, raw = next(self._lines)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as failure:
            byte = raw[failure.start]
            raise SluiceError(
                f"{self._name}, line {self.number}: byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8, or convert it "
                "with iconv -f LATIN1 -t UTF-8"
            ) from None


class ParquetRows:
    """The rows of a Parquet file, one batch of a row group at a time. Raises SluiceError where it is none."""

    def __init__(self, file: BinaryIO, name: str, stream: Stream, unknown: list[str]) -> None:
        # A third of a second to load, and only Parquet needs it.
        import pyarrow
        import pyarrow.parquet

        self._name, self._failure = name, pyarrow.ArrowException
        try:
            self._file = pyarrow.parquet.ParquetFile(file)
        except (pyarrow.ArrowException, OSError) as failure:
            raise SluiceError(f"{name} is no Parquet file: {_plain(str(failure))}") from None
        self._header = cells.header(self._file.schema_arrow.names, stream)
        unknown.extend(self._header.unknown)
        self.total: int = self._file.metadata.num_rows
        self.count = 0

    def records(self) -> Iterator[Record]:
        """Rows in order."""
        try:
            for batch in self._file.iter_batches(batch_size=1000):
                columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
                for row in zip(*columns, strict=True):
                    self.count += 1
                    yield self._record(row)
        except (self._failure, OSError) as failure:
            raise SluiceError(f"{self._name}, after row {self.count}: {_plain(str(failure))}") from None

    def _record(self, row: tuple[Any, ...]) -> Record:
        position = f"row {self.count}"
        try:
            return Record(self._header.payload(row, cells.from_value), position)
        except (UnicodeDecodeError, TypeError) as failure:
            return Record(b"null", position, f"cannot be written as JSON: {_plain(str(failure))}")


def _numbered(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                raise SluiceError(
                    f"{name}, line {number} is longer than {MAX_LINE >> 20} MiB: is this the right --format?"
                )
            yield number, line.removeprefix(BOM) if number == 1 else line
    except (OSError, EOFError) as failure:
        raise SluiceError(f"{name}, after line {number}: {_plain(str(failure))}") from None


def _fault(payload: bytes) -> str | None:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as failure:
        return f"is not JSON: {failure}"
    return None


def _line_of(text: bytes, failure: str) -> str:
    byte = BYTE.search(failure)
    return f"line {text.count(LF, 0, int(byte[1])) + 1}" if byte else "at its end"


def _plain(failure: str) -> str:
    return " ".join(failure.split())[:300]
