"""A store of authorities in Java's notation, made without Java."""

import struct
import time
from collections.abc import Iterable
from hashlib import sha1
from pathlib import Path

PASSWORD = "changeit"  # Java's own for such a store: it holds no secret


def options(store: Path) -> list[str]:
    """Those by which a JVM believes what this store holds, and nothing else."""
    return [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"]


def key_store(certificates: Iterable[bytes]) -> bytes:
    """A Java key store (JKS, version 2) that trusts the DER certificates."""

    def text(value: str) -> bytes:
        return struct.pack(">H", len(value)) + value.encode()

    entries = [
        struct.pack(">I", 2) + text(f"ca{index}") + struct.pack(">Q", int(time.time() * 1000)) + text("X.509")
        + struct.pack(">I", len(certificate)) + certificate
        for index, certificate in enumerate(certificates)
    ]  # fmt: skip
    body = struct.pack(">III", 0xFEEDFEED, 2, len(entries)) + b"".join(entries)
    return body + sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()
