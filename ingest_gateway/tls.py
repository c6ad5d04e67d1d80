"""The gateway's own certificate: shown to callers, and read anew when its files are renewed."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import structlog
import uvloop

from catalog.errors import SluiceError
from ingest_gateway.settings import GatewaySettings, gateway_settings

log = structlog.get_logger()


class Certificate:
    """A certificate with its chain, and its key, as PEM files. Raises SluiceError where they can't be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._seen = self._times()
        self.context = _server()
        _load(self.context, certificate, key)

    def look(self) -> None:
        """Show what the files hold now, if they have changed, to whoever connects from now on. The old pair stays where the new
        one can't be used: of two files that are renewed one after the other, the second look finds both.

        In the event loop's thread, where handshakes are."""
        now = self._times()
        if now == self._seen:
            return
        self._seen = now
        try:
            _load(_server(), self._certificate, self._key)  # one that is refused would leave half of itself behind
            _load(self.context, self._certificate, self._key)
        except SluiceError as refused:
            log.error("certificate", reason=str(refused))
        else:
            log.info("certificate", reason="renewed")

    def _times(self) -> tuple[int, ...]:
        try:
            return tuple(file.stat().st_mtime_ns for file in (self._certificate, self._key))
        except OSError:
            return ()


def _server() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 at least


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as failure:
        raise SluiceError(
            f"SLUICE_GATEWAY_TLS_CERTIFICATE={str(certificate)!r} and SLUICE_GATEWAY_TLS_KEY={str(key)!r} can't be used "
            f"({failure}): name a certificate with its chain, and its private key without a password, as PEM files"
        ) from None


def _no_password() -> str:
    raise ValueError("the key has a password")  # or OpenSSL would ask for it at the terminal


@cache
def certificate_of(settings: GatewaySettings) -> Certificate | None:
    """The one that this process shows; None where it speaks plain HTTP. Raises SluiceError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_certificate, settings.tls_key)


async def watch(settings: GatewaySettings) -> None:
    """Look at its files again and again."""
    found = certificate_of(settings)
    while found is not None:
        await asyncio.sleep(settings.contract_poll)
        found.look()


class Loop(uvloop.Loop):
    """Ends a connection whose handshake isn't complete in `header_timeout` seconds: until it is, nothing else bounds it."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:  # the type stubs disagree
        """As uvloop's."""
        options["ssl_handshake_timeout"] = gateway_settings().header_timeout
        return await super().create_server(*arguments, **options)


def context(_config: object, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """For uvicorn, which asks in each of its processes."""
    found = certificate_of(gateway_settings())
    assert found is not None
    return found.context
