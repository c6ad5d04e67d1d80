"""Whom to believe who a server is."""

import ssl
from pathlib import Path

from catalog.errors import SluiceError


def trusted(ca: Path | None, setting: str) -> ssl.SSLContext | bool:
    """For httpx: the authorities in this PEM file, or those whom everybody believes. Raises SluiceError that names the setting."""
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as failure:  # the errors of ssl are some, too
        raise SluiceError(f"{setting}={str(ca)!r} can't be used ({failure}): name a PEM file of certificates") from None
