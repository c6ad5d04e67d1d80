"""Where the lake's services are, read once from the environment (`SLUICE_*`)."""

import re
from functools import cache
from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.errors import SluiceError

BUNDLED_CONTRACTS = Path(__file__).parent / "contracts"
# Words in the names of settings whose values nobody is shown, an address with a password in it included.
SECRET = {"password", "secret", "uri"}
CATALOG_ADDRESS = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, where each of / ? # @ % [ ] that USER or PASSWORD has is "
    "percent-encoded: / is %2F, # is %23"
)
_BROKEN_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")


class LakeSettings(BaseSettings):
    """Addresses and credentials that every part shares. Raises SluiceError through `lake_settings`."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL"] = Field(
        "PLAINTEXT", description="SASL signs in by user and password, SSL encrypts"
    )
    kafka_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    kafka_user: str = ""
    kafka_password: str = Field("", repr=False)
    kafka_ca: Path | None = Field(
        None, description="authority that signed the broker's certificate (PEM); else the system's"
    )
    catalog_uri: str = Field(
        "postgresql://sluice@127.0.0.1:5432/lake",
        repr=False,
        description="PostgreSQL behind Iceberg's JDBC catalog",
    )
    catalog_name: str = "lake"
    warehouse: str = "s3://lake/warehouse"
    s3_endpoint: str = "http://127.0.0.1:9000"
    s3_region: str = "us-east-1"
    s3_access_key: str = Field(
        "sluice", description="empty: none, and the AWS libraries look for credentials where they always do"
    )
    s3_secret_key: str = Field("", repr=False)
    s3_ca: Path | None = Field(
        None,
        description="PEM of whom to trust for the object store's certificate; empty: those whom everybody does",
    )
    trino_url: str = "http://127.0.0.1:8080"
    trino_user: str = "sluice"
    trino_password: str = Field("", repr=False, description="empty: Trino asks for none; only over https")
    trino_ca: Path | None = Field(
        None, description="PEM of whom to trust for Trino's certificate; empty: those whom the machine trusts"
    )
    gateway_url: str = "http://127.0.0.1:8000"
    gateway_ca: Path | None = Field(
        None, description="PEM of whom to trust for the gateway's certificate; empty: those whom everybody does"
    )
    contracts: Path = BUNDLED_CONTRACTS
    topic_partitions: int = Field(2, ge=1, le=10_000)
    topic_replication: int = Field(1, ge=1, le=10)
    topic_retention_hours: int = Field(168, ge=1)

    @field_validator("catalog_uri")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if not is_catalog_address(value):
            raise ValueError(CATALOG_ADDRESS)
        return value

    @field_validator("warehouse")
    @classmethod
    def _is_s3(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"s3", "s3a"} or not urlsplit(value).netloc:
            raise ValueError("expected s3://BUCKET/PREFIX")
        return value.rstrip("/")

    @field_validator("kafka_ca", "s3_ca", "trino_ca", "gateway_ca", mode="before")
    @classmethod
    def _may_be_empty(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _user_is_asked_for(self) -> Self:
        if self.kafka_user and not self.kafka_signs_in:
            raise ValueError(
                f"SLUICE_KAFKA_USER={self.kafka_user} would not be used by SLUICE_KAFKA_SECURITY_PROTOCOL="
                f"{self.kafka_security_protocol}: that must be SASL_SSL, or SASL_PLAINTEXT without encryption"
            )
        if self.kafka_ca and not self.kafka_encrypts:
            raise ValueError(
                f"SLUICE_KAFKA_CA={self.kafka_ca} would not be used by SLUICE_KAFKA_SECURITY_PROTOCOL="
                f"{self.kafka_security_protocol}: that must be SASL_SSL, or SSL without a user"
            )
        return self

    @property
    def kafka_signs_in(self) -> bool:
        """Whether the broker is told a user and a password."""
        return self.kafka_security_protocol.startswith("SASL_")

    @property
    def kafka_encrypts(self) -> bool:
        """Whether the connection to the broker is encrypted."""
        return self.kafka_security_protocol.endswith("SSL")

    @property
    def s3_keys(self) -> dict[str, str]:
        """Iceberg's properties for the object store's credentials, the same in Java and in Python; none, where AWS's libraries find
        their own: in the environment, by a pod's or a machine's role."""
        if not self.s3_access_key:
            return {}
        return {"s3.access-key-id": self.s3_access_key, "s3.secret-access-key": self.s3_secret_key}

    @property
    def s3_identity(self) -> str:
        """Who asks the object store, for a message."""
        return repr(self.s3_access_key) if self.s3_access_key else "the AWS credentials of the environment"

    @property
    def bucket(self) -> str:
        """The bucket that holds the warehouse."""
        return urlsplit(self.warehouse).netloc


def is_catalog_address(text: str) -> bool:
    """Whether Python, libpq and Java read the same from it. A password with a / of its own would end it, or become the port."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises, as urlsplit does, with words that quote the text
    except ValueError:
        return False
    return (
        parts.scheme in {"postgresql", "postgres"}
        and bool(parts.hostname)
        and bool(parts.path.strip("/"))
        and parts.netloc.count("@") < 2
        and "@" not in parts.path
        and not _BROKEN_ENCODING.search(text)
    )


@cache
def lake_settings() -> LakeSettings:
    """Read the environment once. Raises SluiceError that names the variable, what it holds and what it may hold."""
    return read_settings(LakeSettings)


Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """Read any settings class from the environment, with errors a person can act on."""
    try:
        return kind()
    except ValidationError as failure:
        prefix = kind.model_config.get("env_prefix", "")
        # What is wrong between two settings names them itself; its input would be all of them, passwords too.
        lines = [
            f"{_named(prefix, error['loc'], error['input'])}: {error['msg']}"
            if error["loc"]
            else error["msg"].removeprefix("Value error, ")
            for error in failure.errors()
        ]
        raise SluiceError("A setting can't work: " + "; ".join(lines)) from None


def _named(prefix: str, place: tuple[int | str, ...], value: object) -> str:
    """A setting as in a shell, with what it holds unless that is a secret."""
    name = "_".join(map(str, place))
    shown = " (which is not shown here)" if SECRET & set(name.split("_")) else f"={value!r}"
    return f"{prefix}{name}".upper() + shown
