"""What a part without a web server of its own tells: /healthz and /metrics, from a thread."""

import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.certificates import Certificate
from catalog.errors import SluiceError
from catalog.settings import read_settings

PREFIX = "SLUICE_METRICS_TLS"
PATIENCE = 10.0  # seconds for what a caller sends, its handshake too


class TlsSettings(BaseSettings):
    """Whether a part speaks TLS where it tells its health and its metrics."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}_", frozen=True, extra="ignore")

    certificate: Path | None = Field(None, description="PEM file, with its chain; without one: plain HTTP")
    key: Path | None = Field(None, description="PEM file of its key, without a password")

    @field_validator("certificate", "key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError(f"{PREFIX}_CERTIFICATE and {PREFIX}_KEY belong together: set both, or none for plain HTTP")
        return self

    def pair(self) -> Certificate | None:
        """None for plain HTTP. Raises SluiceError where the files can't be used."""
        return Certificate(self.certificate, self.key, PREFIX) if self.certificate and self.key else None


class _Server(ThreadingHTTPServer):
    certificate: Certificate | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.certificate is not None:
            self.certificate.look()
            # The handshake is the first thing that the caller's own thread reads: who never shakes hands holds up nobody.
            connection = self.certificate.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A caller that breaks off, or speaks in the clear, is no fault of this part.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def serve(
    host: str,
    port: int,
    setting: str,
    registry: CollectorRegistry,
    health: Callable[[], tuple[bool, dict[str, Any]]],
    metrics_if_well: bool = False,
) -> ThreadingHTTPServer:
    """Answer in a thread of its own. `health`: whether all is well (200, else 503), and what /healthz tells.

    `setting` is the one that chose the port. Raises SluiceError where nothing can listen there, or its certificate can't be used.
    """
    certificate = read_settings(TlsSettings).pair()

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_GET(self) -> None:
            well, told = (True, {}) if self.path == "/metrics" and not metrics_if_well else health()
            if self.path == "/metrics" and well:
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path in ("/metrics", "/healthz"):
                self._answer(200 if well else 503, "application/json", json.dumps(told).encode())
            else:
                self._answer(404, "text/plain", b"/healthz and /metrics are here\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    try:
        server = _Server((host, port), Handler)
    except OSError as failure:
        raise SluiceError(
            f"Metrics can't be told at {host}:{port}: {failure.strerror}. Choose another port by {setting}."
        ) from failure
    server.certificate = certificate
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
