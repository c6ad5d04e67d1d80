"""Which ways to a stack's servers are encrypted: for each a certificate, its key, and the authority that signed it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import SluiceError

# The part that shows the certificate, and what its settings begin with. Trino has an own certificate where none is named.
WAYS = {"kafka": "KAFKA", "minio": "S3", "gateway": "GATEWAY", "ui": "UI"}


@dataclass(frozen=True)
class Way:
    """PEM files: what the server shows, and what its clients trust."""

    certificate: Path
    key: Path
    ca: Path


def variables(part: str) -> tuple[str, str, str]:
    """The settings that name certificate, key and authority of the way to this part."""
    name = f"SLUICE_{WAYS[part]}"
    return f"{name}_TLS_CERTIFICATE", f"{name}_TLS_KEY", f"{name}_CA"


def choose(environ: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Setting → file, for all ways that are encrypted; one that is set to nothing ends it. Raises SluiceError."""
    chosen: dict[str, str] = {}
    for part in WAYS:
        names = variables(part)
        found = {
            name: str(Path(file).absolute()) for name in names if (file := environ.get(name, before.get(name, "")))
        }
        if found and len(found) < len(names):
            lacking = " and ".join(name for name in names if name not in found)
            raise SluiceError(
                f"{', '.join(found)} without {lacking}: encryption needs all of {', '.join(names)}, or none"
            )
        for name, file in found.items():
            if not os.access(file, os.R_OK):
                raise SluiceError(f"{name}={file!r} cannot be read: name a PEM file")
        chosen |= found
    return chosen


def way(part: str, chosen: Mapping[str, str]) -> Way | None:
    """The files of the way to this part; None where it is not encrypted."""
    certificate, key, ca = (chosen.get(name, "") for name in variables(part))
    return Way(Path(certificate), Path(key), Path(ca)) if ca else None
