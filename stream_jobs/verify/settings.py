"""Settings of `sluice verify` and of the part `verify` (`SLUICE_VERIFY_*`)."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class VerifySettings(BaseSettings):
    """Sizes and times of the checks."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_VERIFY_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8092, ge=0, le=65535, description="/metrics and /healthz of the part `verify`")
    disks: str = Field("", description="folders, separated by commas, whose disks' free space is among the metrics")
    certificates: str = Field(
        "", description="PEM files, or folders of *.crt, separated by commas, whose end is among the metrics"
    )
    interval: float = Field(300, ge=1, description="seconds between two quick checks by the part `verify`")
    memory: str = Field("512MB", pattern=r"^\d+(MB|GB)$", description="what a check's comparisons take; beyond, disk")
    scratch: Path | None = Field(None, description="folder for what does not fit into memory; else the system's own")
    batch_rows: int = Field(20_000, ge=100, description="rows that are recomputed at a time")
