"""What the lake's tables hold, asked of Trino."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from requests.exceptions import RequestException
from trino.exceptions import Error as TrinoError

from catalog import query
from catalog.errors import SluiceError
from catalog.names import BRONZE, GOLD, LAYERS, PASSING, QUARANTINE, SILVER, table
from catalog.settings import LakeSettings

IDS_A_QUERY = 2_000
FEW = 10


@dataclass(frozen=True)
class Counts:
    """Rows of a stream's tables."""

    bronze: int
    silver: int
    quarantine: int


class Lake:
    """Counts by SQL. Raises SluiceError where Trino doesn't answer or a table isn't there."""

    def __init__(self, settings: LakeSettings) -> None:
        self._url = settings.trino_url
        self._connection = query.connect(settings, source="sluice demo")

    def rows(self, sql: str, parameters: Sequence[Any] | None = None) -> list[list[Any]]:
        """All rows of a query."""
        try:
            cursor = self._connection.cursor()
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())
        except (TrinoError, RequestException) as failure:
            reason = getattr(failure, "message", None) or type(failure).__name__
            raise SluiceError(f"Trino at {self._url} does not answer {sql.split(' where ')[0]!r}: {reason}") from None

    def counts(self, streams: Collection[str]) -> dict[str, Counts]:
        """Rows by stream, in one query."""
        ordered = sorted(streams)
        each = [f"(select count(*) from {table(layer, stream)})" for stream in ordered for layer in LAYERS]
        row = self.rows(f"select {', '.join(each)}")[0]
        order = [LAYERS.index(layer) for layer in (BRONZE, SILVER, QUARANTINE)]
        return {stream: Counts(*(row[n * len(LAYERS) + place] for place in order)) for n, stream in enumerate(ordered)}

    def known(self, stream: str, ids: Collection[str], rows: int) -> set[str]:
        """Those of the event ids that bronze, which has so many rows, holds."""
        if not rows:
            return set()
        if rows <= FEW * len(ids):  # reading all of a small table is quicker than asking for each id
            return {row[0] for row in self.rows(f"select event_id from {table(BRONZE, stream)}")} & set(ids)
        distinct = sorted(set(ids))
        found: set[str] = set()
        for start in range(0, len(distinct), IDS_A_QUERY):
            part = distinct[start : start + IDS_A_QUERY]
            texts = ", ".join("'" + one.replace("'", "''") + "'" for one in part)
            found |= {
                row[0] for row in self.rows(f"select event_id from {table(BRONZE, stream)} where event_id in ({texts})")
            }
        return found

    def gold(self) -> dict[str, int]:
        """Rows of every gold model; nothing where there is none yet."""
        names = [
            row[0]
            for row in self.rows(
                f"select table_name from information_schema.tables where table_schema = '{GOLD}' order by 1"
            )
            if not row[0].endswith(PASSING)
        ]
        if not names:
            return {}
        each = ", ".join(f'(select count(*) from {GOLD}."{name}")' for name in names)
        return dict(zip(names, self.rows(f"select {each}")[0], strict=True))

    def close(self) -> None:
        """End the session."""
        self._connection.close()


@contextmanager
def lake(settings: LakeSettings) -> Iterator[Lake]:
    """A session with Trino."""
    session = Lake(settings)
    try:
        yield session
    finally:
        session.close()
