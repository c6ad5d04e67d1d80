"""The accounts that reach tables or topics. A part that is not named here holds no credentials of any."""

from dataclasses import dataclass

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.names import BRONZE, GOLD, OPS, QUARANTINE, SILVER

OPERATOR = "sluice"
EVERYTHING = (BRONZE, SILVER, QUARANTINE, GOLD, OPS)


@dataclass(frozen=True)
class Account:
    """One name, with one password, at every server.

    With `tables` it reads all of them and changes those of the namespaces in `writes`. `topics` are the operations that it may
    do on the streams' topics, in the broker's words; without any it is unknown to the broker.
    """

    name: str
    writes: tuple[str, ...] = ()
    tables: bool = True
    topics: tuple[str, ...] = ()


# `sluice` owns the catalog and makes tables and topics: commands of a person, `apply`, Jobs. What is done through Trino is bounded
# by Trino's own rules. `reader` is for tools that read the tables without Trino. `explorer` sees how far topics are, and no
# record.
ACCOUNTS = (
    Account(OPERATOR, EVERYTHING, topics=("all",)),
    Account("gateway", tables=False, topics=("describe", "write")),
    Account("stream", (BRONZE, SILVER, QUARANTINE, OPS), topics=("describe", "read")),
    Account("maintenance", (BRONZE, SILVER, QUARANTINE, OPS)),
    Account("verify", (OPS,), topics=("describe", "describe_configs", "read")),
    Account("trino", EVERYTHING),
    Account("reader"),
    Account("explorer", tables=False, topics=("describe",)),
)
AT_TABLES = tuple(account for account in ACCOUNTS if account.tables)
AT_BROKER = tuple(account for account in ACCOUNTS if account.topics)


class AdminSettings(BaseSettings):
    """What only the steps that make the accounts know. A server whose administrator is not named is left as it is."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    admin_catalog_uri: str = Field(default="", repr=False)
    admin_s3_access_key: str = ""
    admin_s3_secret_key: str = Field(default="", repr=False)
    admin_kafka_user: str = ""
    admin_kafka_password: str = Field(default="", repr=False)
    admin_kafka_mechanism: str = "SCRAM-SHA-512"
    password_sluice: str = Field(default="", repr=False)
    password_gateway: str = Field(default="", repr=False)
    password_stream: str = Field(default="", repr=False)
    password_maintenance: str = Field(default="", repr=False)
    password_verify: str = Field(default="", repr=False)
    password_trino: str = Field(default="", repr=False)
    password_reader: str = Field(default="", repr=False)
    password_explorer: str = Field(default="", repr=False)

    @property
    def passwords(self) -> dict[str, str]:
        """Account → password, of those that have one."""
        found = {account.name: str(getattr(self, f"password_{account.name}")) for account in ACCOUNTS}
        return {name: password for name, password in found.items() if password}
