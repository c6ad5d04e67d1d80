"""Whom to believe who a server is."""

import ssl
from pathlib import Path

from catalog.errors import SluiceError


def authorities(ca: Path | None, setting: str) -> ssl.SSLContext:
    """Those in this PEM file, or any that this system believes. Raises SluiceError that names the setting."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as failure:  # the errors of ssl are some, too
        raise SluiceError(
            f"{setting}={str(ca)!r}: {failure.strerror or failure}: name a file of certificates (PEM)"
        ) from None


def trusted(ca: Path | None, setting: str) -> ssl.SSLContext | bool:
    """For httpx, which brings authorities of its own where none are named. Raises SluiceError that names the setting."""
    return True if ca is None else authorities(ca, setting)
