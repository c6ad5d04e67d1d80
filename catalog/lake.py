"""Open the lake: the bucket, the two tables of Iceberg's JDBC catalog, and pyiceberg's view of it."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import psycopg
from pyarrow.fs import FileSystem, FileType, S3FileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

from catalog.errors import SluiceError
from catalog.names import BRONZE, GOLD, OPS, QUARANTINE, SILVER
from catalog.settings import CATALOG_ADDRESS, LakeSettings, is_catalog_address
from catalog.trust import authorities

# Of libpq's parameters those that Java's driver understands in the same words.
TLS_WORDS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
SCHEMES = ("s3", "s3a")
CA = "sluice.s3.ca"  # beside pyiceberg's properties of the object store, for `ObjectStore`
# Version V1 of the JDBC catalog's schema, as Iceberg's Java code creates it; with it Trino can keep views.
CATALOG_TABLES = """
create table if not exists iceberg_tables (
    catalog_name varchar(255) not null,
    table_namespace varchar(255) not null,
    table_name varchar(255) not null,
    metadata_location varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type varchar(5),
    primary key (catalog_name, table_namespace, table_name)
);
create table if not exists iceberg_namespace_properties (
    catalog_name varchar(255) not null,
    namespace varchar(255) not null,
    property_key varchar(255) not null,
    property_value varchar(1000),
    primary key (catalog_name, namespace, property_key)
);
"""


def prepare(settings: LakeSettings) -> None:
    """Make bucket, catalog tables and namespaces; nothing that exists is touched. Trino needs them before it starts."""
    try:
        with psycopg.connect(settings.catalog_uri, connect_timeout=10) as connection:
            connection.execute(CATALOG_TABLES)
    except psycopg.Error as failure:
        raise SluiceError(database_refusal(settings.catalog_uri, failure)) from None
    files = file_system(settings)
    try:
        if files.get_file_info(settings.bucket).type == FileType.NotFound:
            files.create_dir(settings.bucket)
    except OSError as failure:
        raise SluiceError(
            untrusted(settings, failure)
            or f"The object store {settings.s3_endpoint} refuses bucket {settings.bucket} to {settings.s3_identity}: {failure}"
        ) from None
    catalog = open_catalog(settings)
    for namespace in (BRONZE, SILVER, QUARANTINE, GOLD, OPS):
        catalog.create_namespace_if_not_exists(namespace)


def file_system(settings: LakeSettings) -> S3FileSystem:
    """The object store as pyarrow sees it. Raises SluiceError where SLUICE_S3_CA can't be used."""
    return file_system_of(_store(settings))


def file_system_of(properties: Mapping[str, str]) -> S3FileSystem:
    """The object store of a catalog with these properties."""
    endpoint = urlsplit(properties["s3.endpoint"])
    return S3FileSystem(
        access_key=properties.get("s3.access-key-id"),
        secret_key=properties.get("s3.secret-access-key"),
        region=properties["s3.region"],
        endpoint_override=endpoint.netloc,
        scheme=endpoint.scheme,
        allow_bucket_creation=True,
        allow_delayed_open=True,  # a small file is one call, not the three of an upload in parts
        tls_ca_file_path=properties.get(CA),
    )


class ObjectStore(PyArrowFileIO):
    """pyiceberg's files in the object store as all else here sees it: its own way there knows no authority but the system's."""

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        return file_system_of(self.properties) if scheme in SCHEMES else super()._initialize_fs(scheme, netloc)


def _store(settings: LakeSettings) -> dict[str, str]:
    if settings.s3_ca:
        authorities(settings.s3_ca, "SLUICE_S3_CA")  # pyarrow would name neither the setting nor the file
    trusted = {CA: str(settings.s3_ca)} if settings.s3_ca else {}
    return {"s3.endpoint": settings.s3_endpoint, "s3.region": settings.s3_region, **settings.s3_keys, **trusted}


@lru_cache(maxsize=8)
def open_catalog(settings: LakeSettings) -> SqlCatalog:
    """pyiceberg's catalog over the same two tables that Spark and Trino use.

    The same one for the same settings: each has connections of its own to PostgreSQL, and what looks at the lake again and again
    would use them up. It may be used by several threads.
    """
    return SqlCatalog(
        settings.catalog_name,
        **{
            "uri": sqlalchemy_uri(settings.catalog_uri),
            "init_catalog_tables": "false",
            "pool_pre_ping": "true",  # the database may have been restarted since
            "warehouse": settings.warehouse,
            "py-io-impl": f"{ObjectStore.__module__}.{ObjectStore.__name__}",
            **_store(settings),
        },
    )


def sqlalchemy_uri(uri: str) -> str:
    """The same database under the name of the driver that is installed."""
    return "postgresql+psycopg://" + uri.split("://", 1)[1]


def jdbc_uri(uri: str) -> tuple[str, str, str]:
    """(JDBC address, user, password) of a postgresql:// address, for the JVM's driver.

    What the address says of TLS goes with it, in the same words; the rest of its query is for libpq alone.
    """
    parts = urlsplit(uri)
    encryption = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name in TLS_WORDS])
    address = (
        f"jdbc:postgresql://{parts.hostname}:{parts.port or 5432}{parts.path}{'?' if encryption else ''}{encryption}"
    )
    return address, unquote(parts.username or ""), unquote(parts.password or "")


def untrusted(settings: LakeSettings, failure: OSError) -> str | None:
    """One line for a person, where pyarrow does not believe the object store's certificate; None where it is something else."""
    if "curlCode: 60" not in str(failure):
        return None
    return (
        f"The object store {settings.s3_endpoint} shows a certificate that is not trusted: name the file (PEM) of who signed it, "
        "by SLUICE_S3_CA"
    )


def database_refusal(uri: str, failure: psycopg.Error) -> str:
    """One line for a person: which database lets whom not do what. Never the password."""
    if not is_catalog_address(uri):  # then the driver's words may quote a part of the password as a host or a port
        return f"The address of the catalog database can't be read: {CATALOG_ADDRESS}"
    parts = urlsplit(uri)
    text = failure.diag.message_primary or " ".join(str(failure).split())
    where = f"{parts.hostname}:{parts.port or 5432}"
    if isinstance(failure, psycopg.OperationalError) and "FATAL" not in text and failure.sqlstate is None:
        return f"The catalog database {where} does not answer: {text}"
    # What precedes the server's own words is the address once more.
    return (
        f"The catalog database {where} refuses {parts.username or 'nobody'!r}: {text.rpartition('FATAL: ')[2].strip()}"
    )
