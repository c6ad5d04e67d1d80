"""Whom to believe who a server is."""

import re
import shutil
import ssl
import struct
import subprocess
import time
from collections.abc import Iterable
from hashlib import sha1
from pathlib import Path

from catalog.errors import SluiceError

# What Java protects its own file of authorities with; nothing in it is secret.
JAVAS_PASSWORD = "changeit"
ENCODED = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


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


def for_java(ca: Path | None, setting: str, home: Path | None, into: Path) -> list[str]:
    """Options by which the JVM of this home believes those in this PEM file, beside those whom it does by itself.

    They are kept in the file `into`, in Java's notation. Without a file of authorities there are no options. Half a second for each
    certificate. Raises SluiceError that names the setting.
    """
    if ca is None:
        return []
    authorities(ca, setting)  # the same words for a file that can't be used
    found = str(home / "bin" / "keytool") if home else shutil.which("keytool")
    if not found:
        raise SluiceError(f"{setting}={str(ca)!r}: Java can't be told of it without its program keytool: set JAVA_HOME")
    program = Path(found)
    store = ("-keystore", str(into), "-storepass", JAVAS_PASSWORD)
    try:
        shutil.copyfile(program.resolve().parent.parent / "lib" / "security" / "cacerts", into)
        for place, certificate in enumerate(ENCODED.findall(ca.read_text())):
            command = (str(program), "-importcert", "-noprompt", "-alias", f"{setting} {place}", *store)
            subprocess.run(command, input=certificate, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as failure:
        told = getattr(failure, "stdout", None) or failure
        raise SluiceError(f"{setting}={str(ca)!r}: Java can't be told of it: {' '.join(str(told).split())}") from None
    return java_options(into)


def java_options(store: Path) -> list[str]:
    """Of a JVM that believes those in this file, which `for_java` or `key_store` has written, and nobody else."""
    return [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={JAVAS_PASSWORD}"]


def key_store(certificates: Iterable[bytes]) -> bytes:
    """A Java key store (JKS, version 2) that trusts the DER certificates, made without Java."""

    def text(value: str) -> bytes:
        return struct.pack(">H", len(value)) + value.encode()

    entries = [
        struct.pack(">I", 2) + text(f"ca{index}") + struct.pack(">Q", int(time.time() * 1000)) + text("X.509")
        + struct.pack(">I", len(certificate)) + certificate
        for index, certificate in enumerate(certificates)
    ]  # fmt: skip
    body = struct.pack(">III", 0xFEEDFEED, 2, len(entries)) + b"".join(entries)
    return body + sha1(JAVAS_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()
