"""The accounts that reach tables. A part that is not named here holds no credentials of any table."""

from dataclasses import dataclass

from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.names import BRONZE, GOLD, OPS, QUARANTINE, SILVER

OPERATOR = "sluice"
EVERYTHING = (BRONZE, SILVER, QUARANTINE, GOLD, OPS)


@dataclass(frozen=True)
class Account:
    """One name, with one password, at every server. It reads all tables and changes those of the namespaces in `writes`."""

    name: str
    writes: tuple[str, ...] = ()


# `sluice` owns the catalog and makes tables: commands of a person, `apply`, Jobs. What is done through Trino is bounded by
# Trino's own rules. `reader` is for tools that read the tables without Trino.
ACCOUNTS = (
    Account(OPERATOR, EVERYTHING),
    Account("stream", (BRONZE, SILVER, QUARANTINE, OPS)),
    Account("maintenance", (BRONZE, SILVER, QUARANTINE, OPS)),
    Account("verify", (OPS,)),
    Account("trino", EVERYTHING),
    Account("reader"),
)


class AdminSettings(BaseSettings):
    """What only the step that makes the accounts knows. A server whose administrator is not named is left as it is."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore")

    admin_catalog_uri: str = ""
    admin_s3_access_key: str = ""
    admin_s3_secret_key: str = ""
    password_sluice: str = ""
    password_stream: str = ""
    password_maintenance: str = ""
    password_verify: str = ""
    password_trino: str = ""
    password_reader: str = ""

    @property
    def passwords(self) -> dict[str, str]:
        """Account → password, of those that have one."""
        found = {account.name: str(getattr(self, f"password_{account.name}")) for account in ACCOUNTS}
        return {name: password for name, password in found.items() if password}
