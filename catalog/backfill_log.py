"""Which files of history were loaded into a stream: what ops.backfills says of them, and what is added to it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyiceberg.catalog import Catalog

from catalog.ops_tables import BACKFILLS, append, of_stream

BEGUN, DONE, STOPPED = "begun", "done", "stopped"
File = tuple[str, str]  # address and version


class BackfillLog:
    """The files of one stream. A file costs one commit: its end is written with the next one's beginning."""

    def __init__(self, catalog: Catalog, stream: str) -> None:
        self._catalog, self._stream = catalog, stream
        self._done: set[File] = set()
        self._begun: dict[File, datetime] = {}
        self._ended: list[dict[str, Any]] = []
        for row in of_stream(catalog, BACKFILLS, stream).to_pylist():
            file = (row["file"], row["version"])
            if row["outcome"] == DONE:
                self._done.add(file)
            self._begun[file] = min(row["at"], self._begun.get(file, row["at"]))

    def is_done(self, file: File) -> bool:
        """Whether all its records were sent before."""
        return file in self._done

    def begun_at(self, file: File) -> datetime | None:
        """When it was first tried; None if it never was."""
        return self._begun.get(file)

    def begin(self, file: File) -> None:
        """To be called before its first record is sent."""
        self._write([*self._ended, self._row(file, {"outcome": BEGUN})])

    def end(self, file: File, facts: Mapping[str, Any]) -> None:
        """`facts`: columns of the table. Kept until the next file begins: were it lost, the file would be sent again, which
        adds nothing."""
        self._ended = [self._row(file, facts)]

    def close(self) -> None:
        """Write what is left."""
        self._write(self._ended)

    def _row(self, file: File, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"at": datetime.now(UTC), "stream": self._stream, "file": file[0], "version": file[1], **facts}

    def _write(self, rows: list[dict[str, Any]]) -> None:
        append(self._catalog, BACKFILLS, rows)
        self._ended = []
