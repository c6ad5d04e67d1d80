"""Iceberg's own library, for the commits alone: a small JVM beside this process, started when the first commit needs it.

Rows never go through it. What it is asked for is public interface: `RewriteFiles`, which checks that nobody deleted rows of the
files that are replaced, and `ExpireSnapshots`, which knows what nobody refers to any more.
"""

import importlib.util
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from py4j.java_gateway import CallbackServerParameters, GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JError, Py4JJavaError

from catalog.ancestry import Carried
from catalog.data_files import content_file
from catalog.java import java_home, spark_jars
from catalog.lake import jdbc_uri
from catalog.maintenance.compaction import File
from catalog.maintenance.expiry import Cut
from catalog.settings import LakeSettings
from catalog.trust import for_java

HEAP = "160m"
CAUSES = 5  # of a failure, that are told
# Of what pyspark brings, beside the jars of the lake.
NEEDED = ("slf4j-api-",)
JARS = ("iceberg-", "postgresql-")


class ConflictError(Exception):
    """Somebody else changed what this commit is about. Nothing was committed."""


class JavaTables:
    """The lake's tables as Iceberg's library opens them. Close it to end the JVM."""

    def __init__(self, lake: LakeSettings) -> None:
        self._lake = lake
        self._gateway: Any = None
        self._catalog: Any = None
        self._content_file: Any = None
        self._json: Any = None
        self._folder = tempfile.TemporaryDirectory(prefix="sluice-")  # whom the JVM believes; goes with this object

    def rewrite(
        self,
        identifier: str,
        read_at: int,
        out: Sequence[File],
        deletes_out: Sequence[File],
        added: Iterable[str],
        deletes_added: Iterable[str],
        written: float,
    ) -> None:
        """Replace files by others that hold the same rows, if nobody has deleted rows of them since snapshot `read_at`. The first
        of the others was begun at `written`.

        Raises ConflictError.
        """
        with self._asked():
            table = self._table(identifier)
            update = table.newRewrite().validateFromSnapshot(read_at)
            for file in out:
                update = update.deleteFile(self._file(table, _named("data", file)))
            for file in deletes_out:
                update = update.deleteFile(self._file(table, _named("position-deletes", file)))
            for described in (*added, *deletes_added):
                update = update.addFile(self._file(table, described))
            update.validateWith(Carried(update, written))
            update.commit()

    def expire(self, identifier: str, cut: Cut) -> None:
        """Forget snapshots, and remove the files that only they had. Raises ConflictError."""
        with self._asked():
            update = self._table(identifier).expireSnapshots().expireOlderThan(cut.older_than).retainLast(cut.retain)
            update.commit()

    def close(self) -> None:
        """End the JVM; the next commit starts another."""
        gateway, self._gateway, self._catalog = self._gateway, None, None
        if gateway is not None:
            try:
                gateway.shutdown()
            except (Py4JError, OSError):
                return  # it has died by itself

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except Py4JJavaError as failure:
            raise _translated(failure) from None
        except Py4JError as failure:
            self.close()
            raise RuntimeError(f"the JVM beside maintenance has ended: {failure}") from None

    def _table(self, identifier: str) -> Any:
        name = self._opened().org.apache.iceberg.catalog.TableIdentifier.parse(identifier)
        return self._catalog.loadTable(name)

    def _file(self, table: Any, described: str) -> Any:
        return self._content_file(self._json.readTree(described), table.specs())

    def _opened(self) -> Any:
        if self._gateway is None:
            self._gateway = _start(self._lake, Path(self._folder.name))
            jvm = self._gateway.jvm
            # Looked up once: py4j searches all jars for each part of a dotted name, each time.
            self._content_file = jvm.org.apache.iceberg.ContentFileParser.fromJson
            self._json = jvm.org.apache.iceberg.util.JsonUtil.mapper()
            properties = jvm.java.util.HashMap()
            for name, value in _properties(self._lake).items():
                properties.put(name, value)
            self._catalog = jvm.org.apache.iceberg.CatalogUtil.loadCatalog(
                "org.apache.iceberg.jdbc.JdbcCatalog", self._lake.catalog_name, properties, None
            )
        return self._gateway.jvm


def _start(lake: LakeSettings, folder: Path) -> JavaGateway:
    home = java_home()
    port, token = launch_gateway(
        classpath=os.pathsep.join(_class_path()),
        # It moves no rows: the first compiler and the serial collector are enough, and cost least.
        javaopts=[
            *(f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
            *for_java(lake.s3_ca, "SLUICE_S3_CA", home, folder / "authorities"),
        ],
        java_path=str(home / "bin" / "java") if home else None,
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(port=port, auth_token=token, auto_convert=True),
        # Py4J's launcher gives Java no token for this way; nothing but `Carried` can be called by it.
        callback_server_parameters=CallbackServerParameters(port=0, daemonize=True, daemonize_connections=True),
    )
    # The port of the callback server is known only now.
    server = gateway.java_gateway_server
    server.resetCallbackClient(
        server.getCallbackClient().getAddress(), gateway.get_callback_server().get_listening_port()
    )
    return gateway


def _class_path() -> list[str]:
    spec = importlib.util.find_spec("pyspark")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) / "jars" if spec else Path()
    brought = [str(jar) for jar in sorted(folder.glob("*.jar")) if jar.name.startswith(NEEDED)]
    return [*(jar for jar in spark_jars() if Path(jar).name.startswith(JARS)), *brought]


def _properties(lake: LakeSettings) -> dict[str, str]:
    address, user, password = jdbc_uri(lake.catalog_uri)
    return {
        "uri": address,
        "jdbc.user": user,
        "jdbc.password": password,
        "jdbc.schema-version": "V1",
        "warehouse": lake.warehouse,
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.endpoint": lake.s3_endpoint,
        "s3.path-style-access": "true",
        **lake.s3_keys,
        "client.region": lake.s3_region,
    }


def _named(content: str, file: File) -> str:
    return orjson.dumps(content_file(content, file.path, file.spec_id, file.partition, file.size, file.rows)).decode()


def _translated(failure: Py4JJavaError) -> Exception:
    java, told = failure.java_exception, list[str]()
    while java is not None and len(told) < CAUSES:
        kind, message = java.getClass().getName().rsplit(".", 1)[-1], str(java.getMessage()).partition("\n")[0]
        if kind in ("ValidationException", "CommitFailedException") and not told:
            return ConflictError(message)
        told.append(f"{kind}: {message}")
        java = java.getCause()
    return RuntimeError("; ".join(told) or str(failure))
