"""The gateway's own settings (`SLUICE_GATEWAY_*`), read once at start. Where Kafka and the contracts are: `LakeSettings`."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.settings import read_settings
from ingest_gateway.addresses import networks

_ORIGIN = re.compile(r"https?://[^/?#@\s*]+\Z")
_RATE = re.compile(r"[1-9][0-9]{0,8}/([1-9][0-9]{0,2})?(second|minute|hour|day)\Z")


class GatewaySettings(BaseSettings):
    """Raises SluiceError through `gateway_settings`. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_GATEWAY_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="address to bind")
    port: int = Field(default=8000, ge=1, le=65535, description="port to bind")
    metrics_host: str = Field(default="127.0.0.1", description="address to bind for metrics alone")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="/metrics there too, without a key; 0: nowhere")
    tls_certificate: Path | None = Field(default=None, description="PEM file, with its chain; without one: plain HTTP")
    tls_key: Path | None = Field(default=None, description="PEM file of its key, without a password")
    workers: int = Field(default=1, ge=1, le=64, description="processes that share the port")
    authentication: Literal["off", "required"] = Field(default="off", description="whether a caller must have a key")
    keys: Path | None = Field(default=None, description="file of API keys, which `sluice keys` writes")
    oidc_issuer: str | None = Field(default=None, description="identity provider whose tokens count, as in their iss")
    oidc_audience: str | None = Field(default=None, description="what a token's aud must name: this gateway")
    oidc_jwks_url: str | None = Field(default=None, description="its keys; else as the provider's configuration says")
    oidc_scope_claim: str = Field(default="scope", min_length=1, description="claim with scopes like submit:orders")
    oidc_refresh: float = Field(default=600.0, ge=1, le=86400, description="longest that a withdrawn key counts")
    oidc_retry: float = Field(
        default=10.0, ge=0.1, le=3600, description="least time between two questions to the identity provider"
    )
    allow_unauthenticated: bool = Field(
        default=False, description="serve others than this machine although authentication is off"
    )
    rate_limit_by_key: str | None = Field(default=None, description="requests of a key or token, like 6000/minute")
    rate_limit_by_address: str | None = Field(default=None, description="requests of an address without a key")
    event_rate_limit_by_key: str | None = Field(default=None, description="events of a key or token, like 60000/minute")
    event_rate_limit_by_address: str | None = Field(default=None, description="events of an address without a key")
    trusted_proxies: str = Field(default="", description="addresses and networks whose word on a caller is believed")
    proxy_header: Literal["x-forwarded", "forwarded"] = Field(
        default="x-forwarded", description="where they say it: X-Forwarded-For and -Proto, or Forwarded (RFC 7239)"
    )
    cors_origins: str = Field(default="", description="origins whose pages may ask, comma-separated; * for all")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged"
    )
    max_body_bytes: int = Field(default=8 << 20, ge=1024, le=1 << 30, description="largest request body")
    max_event_bytes: int = Field(default=900_000, ge=64, le=64 << 20, description="largest single event")
    max_events: int = Field(default=10_000, ge=1, le=1_000_000, description="most events in a request")
    max_depth: int = Field(default=64, ge=1, le=500, description="deepest nesting of an event")
    max_in_flight_bytes: int = Field(default=64 << 20, ge=1024, description="bodies held at a time, before 503")
    max_in_flight_requests: int = Field(
        default=300, ge=1, le=1_000_000, description="under way at a time in a worker, before 503"
    )
    max_connections: int = Field(default=1000, ge=1, le=1_000_000, description="open at a time in a worker, before 503")
    max_connections_by_address: int | None = Field(
        default=None, ge=1, le=1_000_000, description="open at a time by one address in a worker, before 429"
    )
    header_timeout: float = Field(default=10.0, gt=0, le=3600, description="longest wait for a request's headers")
    read_timeout: float = Field(
        default=30.0, gt=0, le=3600, description="longest wait for a request's body, before 408"
    )
    produce_timeout: float = Field(
        default=10.0, gt=0, le=300, description="longest wait for Kafka's acknowledgement, before 503"
    )
    batch_bytes: int = Field(
        default=960_000, ge=1024, le=64 << 20, description="Kafka record batch; below message.max.bytes"
    )
    compression: Literal["none", "gzip", "zstd"] = Field(default="none", description="of record batches")
    retry_after: int = Field(default=1, ge=1, le=3600, description="Retry-After of a 503")
    spool: Path | None = Field(
        default=None, description="folder for events while Kafka is away; none: they are answered with 503"
    )
    spool_bytes: int = Field(default=1 << 30, ge=1 << 16, description="most that the spool may hold, over all workers")
    spool_drain_bytes: int = Field(
        default=16 << 20, ge=1 << 16, description="a second, from the spool to Kafka, by each worker"
    )
    contract_poll: float = Field(default=1.0, gt=0, le=3600, description="how often the contract files are looked at")
    shutdown_timeout: int = Field(default=30, ge=1, le=3600, description="how long a stop waits for requests under way")

    @property
    def has_rate_limits(self) -> bool:
        """Whether anything is counted."""
        return any(
            (
                self.rate_limit_by_key,
                self.rate_limit_by_address,
                self.event_rate_limit_by_key,
                self.event_rate_limit_by_address,
            )
        )

    @field_validator("spool", "max_connections_by_address", "tls_certificate", "tls_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator(
        "rate_limit_by_key", "rate_limit_by_address", "event_rate_limit_by_key", "event_rate_limit_by_address"
    )
    @classmethod
    def _is_rate(cls, value: str | None) -> str | None:
        if value and not _RATE.match(value):
            raise ValueError("expected a number and a time, like 100/second, 6000/minute or 50/10minute")
        return value or None

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            if origin != "*" and not _ORIGIN.match(origin):
                raise ValueError(
                    f"{origin!r} is no origin; expected ones like https://shop.example, without a path, or *"
                )
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        try:
            networks(value)
        except ValueError as failure:
            raise ValueError(f"expected addresses and networks like 10.0.0.0/8, ::1: {failure}") from None
        return value

    @model_validator(mode="after")
    def _others_are_asked_who_they_are(self) -> Self:
        if self.authentication == "required":
            if self.keys is None and self.oidc_issuer is None:
                raise ValueError(
                    "authentication is required and nobody could be let in: keys must name a file of API keys, or oidc_issuer "
                    "an identity provider"
                )
        elif not (_is_loopback(self.host) or self.allow_unauthenticated):
            raise ValueError(
                f"host {self.host} can be reached from elsewhere, and authentication is off: set authentication=required and "
                "keys, or allow_unauthenticated=true where something in front of the gateway asks who they are"
            )
        return self

    @model_validator(mode="after")
    def _provider_can_be_trusted(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if not self.oidc_audience:
            raise ValueError(
                "oidc_audience must say what tokens for this gateway name, or those for others would count"
            )
        parts = urlsplit(self.oidc_issuer)
        if not (
            parts.scheme == "https"
            or (parts.scheme == "http" and (_is_loopback(parts.hostname or "") or self.oidc_jwks_url))
        ):
            raise ValueError(
                f"oidc_issuer {self.oidc_issuer!r} is no https address: whoever is on the way could replace its keys. Where "
                "that is safe, name the keys themselves in oidc_jwks_url"
            )
        return self

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both, or none for plain HTTP")
        return self

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.max_in_flight_bytes < self.max_body_bytes:
            raise ValueError(
                "max_in_flight_bytes must be at least max_body_bytes, or no large body could ever be taken"
            )
        if self.max_event_bytes > self.batch_bytes:
            raise ValueError("batch_bytes must be at least max_event_bytes, or a large event would fit no batch")
        if self.spool is not None and self.spool_bytes // self.workers < 2 * self.max_body_bytes:
            raise ValueError(
                "spool_bytes must be at least twice max_body_bytes for each worker, or a large body could never be spooled"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def gateway_settings() -> GatewaySettings:
    """Read the environment. Raises SluiceError that names the variable, what it holds and what it may hold."""
    return read_settings(GatewaySettings)
