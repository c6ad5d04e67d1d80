"""A lease on the lake, so that a second stream job waits its turn. The fence is in the commits, not here."""

from zlib import crc32

import psycopg

from catalog.settings import LakeSettings


class Lease:
    """An advisory lock of the catalog's PostgreSQL. It ends with the connection, so a killed holder frees it."""

    def __init__(self, settings: LakeSettings) -> None:
        self._key = crc32(f"sluice-stream:{settings.catalog_name}".encode())
        self._connection = psycopg.connect(
            settings.catalog_uri, autocommit=True, connect_timeout=10, keepalives_idle=10, keepalives_interval=5
        )

    def acquire(self) -> bool:
        """True if this job holds the lease now. Raises psycopg.OperationalError when the database is away."""
        row = self._connection.execute("select pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        return bool(row and row[0])

    def held(self) -> bool:
        """Whether the connection, and with it the lock, is still there: a restarted database has forgotten it."""
        try:
            self._connection.execute("select 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Give the lease back."""
        self._connection.close()
