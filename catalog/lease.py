"""A lease on the lake, so that a second stream job, or a second round of maintenance, waits its turn. The fence is in the commits.

An advisory lock of the catalog's PostgreSQL: it ends with the connection, so a killed holder frees it at once. A holder that is
paused, or whose machine is cut off, keeps the connection. So a holder asks the database something every few seconds, and who
waits ends the connection of a holder that has not asked for too long, as `pg_stat_activity` tells.
"""

import threading
from zlib import crc32

import psycopg

from catalog.settings import LakeSettings

BEAT = 2.0
OVERDUE = """
select pg_terminate_backend(a.pid) from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.classid = 0 and l.objid = %(key)s::bigint::oid and l.objsubid = 1
and l.database = (select oid from pg_database where datname = current_database())
and clock_timestamp() - a.state_change > make_interval(secs => %(patience)s)
"""


def lock_of(settings: LakeSettings, purpose: str) -> int:
    """The number of a lake's advisory lock."""
    return crc32(f"sluice-{purpose}:{settings.catalog_name}".encode())


class Lease:
    """One job's connection to the lock. `patience`: seconds of silence after which a holder loses it."""

    def __init__(self, settings: LakeSettings, purpose: str, patience: float) -> None:
        self._key = lock_of(settings, purpose)
        self._patience = patience
        self._over = threading.Event()
        self._connection = psycopg.connect(
            settings.catalog_uri, autocommit=True, connect_timeout=10, keepalives_idle=10, keepalives_interval=5
        )

    def acquire(self) -> bool:
        """True if this process holds the lease now. Raises psycopg.OperationalError when the database is away."""
        row = self._connection.execute("select pg_try_advisory_lock(%s)", (self._key,)).fetchone()
        if row and row[0]:
            threading.Thread(target=self._beat, name="lease", daemon=True).start()
            return True
        self._connection.execute(OVERDUE, {"key": self._key, "patience": self._patience})
        return False

    def held(self) -> bool:
        """Whether the connection, and with it the lock, is still there: a restarted database has forgotten it."""
        try:
            self._connection.execute("select 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Give the lease back."""
        self._over.set()
        self._connection.close()

    def _beat(self) -> None:
        while not self._over.wait(min(BEAT, self._patience / 3)) and self.held():
            pass
