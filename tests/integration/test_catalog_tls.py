"""The way to the catalog's database, encrypted by what its address says: the real database behind an end of TLS."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from catalog.lake import open_catalog
from catalog.maintenance.expiry import Cut
from catalog.maintenance.java import JavaTables
from catalog.settings import LakeSettings
from catalog.turns import Turns, taken
from tests.certificates import write_pair
from tests.stack import Stack

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL's protocol: how a client asks for encryption


class End:
    """Takes encrypted connections alone, and counts both kinds."""

    def __init__(self, behind: tuple[str, int], context: ssl.SSLContext) -> None:
        self.encrypted = self.clear = self.port = 0
        self._behind, self._context = behind, context
        self._loop, self._ready = asyncio.new_event_loop(), threading.Event()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) != SSL_REQUEST:
                self.clear += 1
                writer.close()
                return
            writer.write(b"S")
            await writer.start_tls(self._context)
            self.encrypted += 1
            there, back = await asyncio.open_connection(*self._behind)
            await asyncio.gather(_copied(reader, back), _copied(there, writer))

    async def serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: self._loop.run_until_complete(self.serve()), daemon=True)
        thread.start()
        assert self._ready.wait(30)
        yield


async def _copied(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(1 << 16):
            target.write(piece)
            await target.drain()
    target.close()


@pytest.fixture
def end(fresh: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[End]:
    fresh.up("postgres", "minio", "kafka", "maintenance")
    for name in ("SLUICE_SPARK_JARS", "SLUICE_JAVA"):
        monkeypatch.setenv(name, fresh.env()[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    write_pair(folder / "db.crt", folder / "db.key")
    context.load_cert_chain(folder / "db.crt", folder / "db.key")
    parts = urlsplit(fresh.lake().catalog_uri)
    made = End((parts.hostname or "", parts.port or 0), context)
    with made.running():
        yield made


def through(end: End, lake: LakeSettings, words: str) -> LakeSettings:
    parts = urlsplit(lake.catalog_uri)
    place = f"{parts.username}:{parts.password}@127.0.0.1:{end.port}"
    return lake.model_copy(update={"catalog_uri": parts._replace(netloc=place, query=words).geturl()})


def told_by_java(lake: LakeSettings) -> str:
    """What keeps Iceberg's library from expiring snapshots of a table that is none, with all causes."""
    with closing(JavaTables(lake)) as java:
        with pytest.raises(RuntimeError) as failed:
            java.expire("silver.none", Cut(0, 1, 1))
        return str(failed.value)


def test_python_and_java_speak_to_the_catalog_as_its_address_says(end: End, fresh: Stack, folder: Path) -> None:
    trusting = through(end, fresh.lake(), f"sslmode=verify-full&sslrootcert={folder / 'db.crt'}")
    assert not open_catalog(trusting).table_exists("silver.none")
    with taken(trusting, "silver.none"):
        assert Turns(trusting).is_taken("silver.none")
    before = end.encrypted
    assert before > 0
    assert "Table does not exist: silver.none" in told_by_java(trusting)
    assert end.encrypted > before, "Java's driver encrypts too"
    assert end.clear == 0
    write_pair(folder / "other.crt", folder / "other.key")
    deceived = through(end, fresh.lake(), f"sslmode=verify-full&sslrootcert={folder / 'other.crt'}")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(deceived.catalog_uri)
    assert "CertPathValidatorException" in told_by_java(deceived)
