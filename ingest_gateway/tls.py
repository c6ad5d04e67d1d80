"""The gateway's own certificate, in the event loop that accepts its callers."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any

import uvloop

from catalog.certificates import Certificate
from ingest_gateway.settings import GatewaySettings, gateway_settings


@cache
def certificate_of(settings: GatewaySettings) -> Certificate | None:
    """The one that this process shows; None where it speaks plain HTTP. Raises SluiceError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_certificate, settings.tls_key, "SLUICE_GATEWAY_TLS")


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
