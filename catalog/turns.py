"""Who commits next to a table that two keep changing: maintenance asks for a turn, and the stream job gives way.

A compaction carries over what was deleted while it merged, on the newest snapshot, and is refused if more was deleted before
its commit. A stream that updates rows all over a table commits deletes each second: on a busy machine the compaction would lose
each time, and the more often it has lost, the more files there are and the longer it takes. So each batch of such a stream holds
an advisory lock of the catalog's PostgreSQL that batches share, and a compaction that has lost once takes it for itself alone: it
waits for the batch that is under way, and the next one waits for it. It is a courtesy that no promise rests on: what may be
committed is decided in the commit. The lock ends with its holder's connection; who waits for too long goes on without it, and a
holder that took too long is no longer heeded, until it has let go once.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import structlog

from catalog.lease import lock_of
from catalog.settings import LakeSettings

# Seconds that each waits for the other.
PATIENCE = 10.0
BETWEEN_LOOKS = 0.02
log = structlog.get_logger()


@contextmanager
def taken(lake: LakeSettings, table: str, patience: float = PATIENCE) -> Iterator[None]:
    """The turn is this process's within the block, if the batch that is under way ends in time. Raises psycopg.OperationalError."""
    key = _key(lake, table)
    with psycopg.connect(lake.catalog_uri, autocommit=True, connect_timeout=10) as connection:
        connection.execute("select set_config('lock_timeout', %s, false)", (f"{max(1, round(patience * 1000))}ms",))
        try:
            connection.execute("select pg_advisory_lock(%s)", (key,))
        except psycopg.errors.LockNotAvailable:
            log.warning("turn", table=table, reason=f"a batch of the stream has gone on for more than {patience:.0f} s")
        try:
            yield
        finally:
            # A server that is busy sees late that a connection was closed: whoever looks after this block shall find it free.
            with suppress(psycopg.Error):
                connection.execute("select pg_advisory_unlock(%s)", (key,))


class Turns:
    """The stream job's side. For several threads."""

    def __init__(self, lake: LakeSettings, patience: float = PATIENCE) -> None:
        self._lake = lake
        self._patience = patience
        self._one = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._unheeded: set[str] = set()

    @contextmanager
    def batch(self, table: str) -> Iterator[None]:
        """Within the block nobody takes the turn. It is begun when nobody has the turn, or has had it for too long.

        Never fails: a database that is away stops nobody here.
        """
        shared = self._shared(table)
        try:
            yield
        finally:
            if shared:
                self._ask("select pg_advisory_unlock_shared(%s)", table)

    def _shared(self, table: str) -> bool:
        """Whether the lock is held, after waiting for who has the turn."""
        deadline = time.monotonic() + self._patience
        while (got := self._ask("select pg_try_advisory_lock_shared(%s)", table)) is False:
            if table in self._unheeded:
                return False
            if time.monotonic() > deadline:
                log.warning("turn", table=table, reason=f"maintenance has held it for more than {self._patience:.0f} s")
                self._unheeded.add(table)
                return False
            time.sleep(BETWEEN_LOOKS)
        self._unheeded.discard(table)
        return got is True

    def is_taken(self, table: str) -> bool:
        """Whether somebody has the turn now; False where the database does not say."""
        # The lock of a transaction: it is given back as the statement ends.
        return self._ask("select pg_try_advisory_xact_lock_shared(%s)", table) is False

    def _ask(self, sql: str, table: str) -> bool | None:
        """None where the database does not answer. What the connection held is free then."""
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
                row = self._connection.execute(sql, (_key(self._lake, table),)).fetchone()
            except psycopg.Error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                return None
        return row is not None and bool(row[0])


def _key(lake: LakeSettings, table: str) -> int:
    return lock_of(lake, f"turn:{table}")
