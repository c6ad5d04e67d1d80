"""Settings of the stream job (`SLUICE_STREAM_*`), read once at start."""

import os
import shlex
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.settings import read_settings


class StreamSettings(BaseSettings):
    """How the stream job runs. Sizes are rows, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_STREAM_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8090, ge=0, le=65535, description="/metrics and /healthz")
    interval: float = Field(0.5, ge=0, le=3600, description="shortest time from a batch to the next, unless behind")
    max_batch_rows: int = Field(50_000, ge=100, description="most Kafka records in one batch, over all streams")
    poll_contracts: float = Field(2.0, gt=0, description="how often the contracts' folder is looked at")
    memory: str = Field("600m", pattern=r"^\d+[mg]$", description="the JVM's heap")
    java_options: str = Field("", description="further options of the JVM, quoted as in a shell")
    slots: int = Field(8, ge=1, description="Spark tasks side by side; they mostly wait for the object store")
    backoff_max: float = Field(30.0, gt=0, description="longest wait before another try when a server is away")
    lease: bool = Field(True, description="wait while another stream job holds this lake's lease")
    lease_patience: float = Field(15.0, ge=1, description="a holder that is silent for so long loses the lease")

    @field_validator("java_options")
    @classmethod
    def _has_whole_quotes(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError as broken:
            raise ValueError(f"{broken}; expected options as in a shell") from None
        return value


@cache
def stream_settings() -> StreamSettings:
    """Read the environment once. Raises SluiceError."""
    return read_settings(StreamSettings)


def scratch() -> Path:
    """Where Spark keeps what may vanish at any time: checkpoints and shuffle files."""
    return Path(os.environ.get("SLUICE_STATE", ".sluice")).absolute() / "stream"
