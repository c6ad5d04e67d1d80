"""Trino, which answers SQL over the lake."""

import uuid
from pathlib import Path

from catalog.trust import for_java, java_options
from infra.access.accounts import OPERATOR
from infra.access.trino import plugin_properties, server_properties, write_access
from infra.access.trino_users import CERTIFICATE, PARTS
from infra.native import probes
from infra.native.cache import cache_folder
from infra.native.components import components
from infra.native.config import LOOPBACK, Stack, parse_memory, trino_password
from infra.native.fetch import java_for_trino
from infra.native.java import class_archive
from infra.native.part import YIELDS, Part

ACCOUNT = "trino"
AUTHORITIES = "authorities"


def trino_part(stack: Stack) -> Part:
    server = components()["trino"].folder(cache_folder())
    etc = stack.folder("etc", "trino")
    runtime = java_for_trino(cache_folder())
    url = stack.trino_url
    trusted = stack.trino_access / CERTIFICATE if stack.trino_asks else None
    password = trino_password(stack, OPERATOR) if stack.trino_asks else ""
    return Part(
        name="trino",
        command=(
            str(runtime.path),
            *class_archive(runtime, server / "trino.jsa"),
            *("-cp", f"{server}/lib/*"),
            f"-Xmx{stack.memory['trino']}",
            *(java_options(etc / AUTHORITIES) if stack.ca("minio") else ()),
            "-XX:+UseG1GC",
            "-XX:G1HeapRegionSize=8M",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:ReservedCodeCacheSize=256M",
            "-Djdk.attach.allowAttachSelf=true",
            "-Dfile.encoding=UTF-8",
            "-XX:+EnableDynamicAgentLoading",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dconfig={etc / 'config.properties'}",
            "-Dnode.environment=sluice",
            f"-Dnode.id={uuid.uuid5(uuid.NAMESPACE_OID, stack.identity)}",
            f"-Dnode.data-dir={stack.folder('data', 'trino')}",
            f"-Dnode.bind-ip={stack.bind}",
            f"-Dnode.internal-address={stack.host}",
            f"-Dplugin.dir={server / 'plugin'}",
            f"-Dcatalog.config-dir={etc / 'catalog'}",
            f"-Dlog.levels-file={etc / 'log.properties'}",
            "io.trino.server.TrinoServer",
        ),
        environment={
            "SLUICE_TRINO_DATABASE_PASSWORD": stack.password(ACCOUNT),
            "SLUICE_TRINO_S3_SECRET": stack.password(ACCOUNT),
            **({"SLUICE_TRINO_INTERNAL_SECRET": stack.password("trino, internal")} if stack.trino_asks else {}),
        },
        ready=probes.trino(url, "select count(*) from lake.information_schema.schemata", OPERATOR, password, trusted),
        healthy=probes.http(f"{url}/v1/info", trusted),
        port=stack.ports["trino"],
        url=url,
        memory=stack.memory["trino"],
        needs=("catalog",),
        directory=stack.folder("data", "trino"),
        yields=YIELDS,
        starts_in_front=True,  # a start that steps back takes minutes where the others keep the processors busy
        prepare=lambda: _prepare(stack, etc),
        stop_limit=45,  # the first end writes the class archive
    )


def config(stack: Stack) -> dict[str, str]:
    """config.properties; the memory shares leave a third of the heap to everything that queries don't account for."""
    heap = parse_memory("SLUICE_MEMORY_TRINO", stack.memory["trino"]) >> 20
    query = heap // 2
    if stack.trino_asks:
        reached = server_properties(stack.trino_access, stack.ports["trino"], stack.host)
    else:
        reached = {
            "http-server.http.port": str(stack.ports["trino"]),
            "discovery.uri": f"http://{stack.address('trino')}",
        }
    return {
        "coordinator": "true",
        "node-scheduler.include-coordinator": "true",
        **reached,
        "query.max-memory": f"{query}MB",
        "query.max-memory-per-node": f"{query}MB",
        "memory.heap-headroom-per-node": f"{heap // 4}MB",
        "query.max-history": "50",
        "query.min-expire-age": "1m",
        "task.concurrency": "2",
        "web-ui.enabled": "true",
    }


def lake_catalog(stack: Stack) -> dict[str, str]:
    """catalog/lake.properties. Passwords come from the environment, so that no file but the settings holds them."""
    return {
        "connector.name": "iceberg",
        "iceberg.catalog.type": "jdbc",
        "iceberg.jdbc-catalog.catalog-name": "lake",
        "iceberg.jdbc-catalog.driver-class": "org.postgresql.Driver",
        "iceberg.jdbc-catalog.connection-url": f"jdbc:postgresql://{stack.address('postgres')}/lake",
        "iceberg.jdbc-catalog.connection-user": ACCOUNT,
        "iceberg.jdbc-catalog.connection-password": "${ENV:SLUICE_TRINO_DATABASE_PASSWORD}",
        "iceberg.jdbc-catalog.default-warehouse-dir": "s3://lake/warehouse",
        "iceberg.jdbc-catalog.schema-version": "V1",
        "fs.native-s3.enabled": "true",
        "s3.endpoint": stack.url("minio"),
        "s3.region": "us-east-1",
        "s3.path-style-access": "true",
        "s3.aws-access-key": ACCOUNT,
        "s3.aws-secret-key": "${ENV:SLUICE_TRINO_S3_SECRET}",
    }


def _prepare(stack: Stack, etc: Path) -> None:
    _write(etc / "config.properties", config(stack))
    _write(etc / "catalog" / "lake.properties", lake_catalog(stack))
    for_java(stack.ca("minio"), "SLUICE_S3_CA", java_for_trino(cache_folder()).home, etc / AUTHORITIES)
    _write(etc / "log.properties", {"io.trino": "INFO", "Bootstrap": "WARN", "io.airlift": "WARN"})
    for name, properties in plugin_properties(stack.trino_access).items():
        if stack.trino_asks:
            _write(etc / name, properties)
        else:
            (etc / name).unlink(missing_ok=True)
    if stack.trino_asks:
        from catalog.odcs import load_each  # imported late, as cryptography: they take their time
        from infra.access import certificate

        certificate.keep(stack.trino_access, [stack.host, "localhost", LOOPBACK])
        # A contract that can't be read opens nothing; it is no reason to be without Trino.
        streams, _ = load_each(Path(stack.lake["SLUICE_CONTRACTS"]))
        write_access(stack.trino_access, streams.values(), {part: trino_password(stack, part) for part in PARTS})
    data = stack.folder("data", "trino")
    data.mkdir(parents=True, exist_ok=True)
    # Trino looks for some files in `etc` of the folder in which it runs, whatever it is told.
    (data / "etc").unlink(missing_ok=True)
    (data / "etc").symlink_to(etc)


def _write(file: Path, properties: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
