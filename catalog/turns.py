"""Who commits next to a table that two keep changing: maintenance asks for a turn, and the stream job gives way.

A compaction carries over what was deleted while it merged, on the newest snapshot, and is refused if more was deleted before
its commit. A stream that updates rows all over a table commits deletes each second: on a busy machine the compaction would lose
each time, and the more often it has lost, the more files there are and the longer it takes. So when it has lost once it holds an
advisory lock of the catalog's PostgreSQL for that last step, and the stream begins no batch of this table meanwhile. It is a
courtesy that no promise rests on: what may be committed is decided in the commit. The lock ends with its holder's connection, and
a holder that takes too long is no longer heeded, until it has let go once.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog

from catalog.lease import lock_of
from catalog.settings import LakeSettings

# Seconds that a stream waits for one who holds the turn.
PATIENCE = 10.0
BETWEEN_LOOKS = 0.02
log = structlog.get_logger()


@contextmanager
def taken(lake: LakeSettings, table: str) -> Iterator[None]:
    """The turn is this process's within the block. Raises psycopg.OperationalError."""
    with psycopg.connect(lake.catalog_uri, autocommit=True, connect_timeout=10) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_key(lake, table),))
        yield


class Turns:
    """Asks whether somebody has taken the turn at a table. For several threads."""

    def __init__(self, lake: LakeSettings, patience: float = PATIENCE) -> None:
        self._lake = lake
        self._patience = patience
        self._one = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._unheeded: set[str] = set()

    def give_way(self, table: str) -> None:
        """Return when nobody has the turn, or has had it for too long. Never fails: a database that is away stops nobody here."""
        deadline = time.monotonic() + self._patience
        while self.is_taken(table):
            if table in self._unheeded:
                return
            if time.monotonic() > deadline:
                log.warning("turn", table=table, reason=f"maintenance has held it for more than {self._patience:.0f} s")
                self._unheeded.add(table)
                return
            time.sleep(BETWEEN_LOOKS)
        self._unheeded.discard(table)

    def is_taken(self, table: str) -> bool:
        """Whether somebody has the turn now; False where the database does not say."""
        with self._one:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(
                        self._lake.catalog_uri,
                        autocommit=True,
                        connect_timeout=10,
                        keepalives_idle=10,
                        keepalives_interval=5,
                        tcp_user_timeout=25_000,  # milliseconds until a machine that says nothing counts as gone
                    )
                # The lock of a transaction: it is given back as the statement ends.
                row = self._connection.execute(
                    "select pg_try_advisory_xact_lock_shared(%s)", (_key(self._lake, table),)
                ).fetchone()
            except psycopg.Error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                return False
        return row is not None and not row[0]


def _key(lake: LakeSettings, table: str) -> int:
    return lock_of(lake, f"turn:{table}")
