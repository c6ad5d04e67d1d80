"""Settings of maintenance (`SLUICE_MAINTENANCE_*`), read once at start."""

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.settings import read_settings


class MaintenanceSettings(BaseSettings):
    """How the tables are kept. Times are seconds unless their name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_MAINTENANCE_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8091, ge=0, le=65535, description="/metrics and /healthz")
    interval: float = Field(60.0, ge=1, description="between two rounds over all tables")
    target_mib: int = Field(128, ge=1, le=4096, description="size that data files are merged up to")
    budget_mib: int = Field(256, ge=1, description="most that is read to be rewritten, for each table and round")
    snapshot_age: float = Field(
        300,
        ge=60,
        description="how long a snapshot stays after another took its place; a query that reads longer can fail",
    )
    orphan_hours: float = Field(
        24, ge=1, description="age at which a file that no snapshot knows is removed; no commit may take so long"
    )
    orphan_interval_hours: float = Field(6, gt=0, description="between two searches for such files in a table")


@cache
def maintenance_settings() -> MaintenanceSettings:
    """Read the environment once. Raises SluiceError."""
    return read_settings(MaintenanceSettings)
