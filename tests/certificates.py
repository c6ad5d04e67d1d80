"""Certificates for servers on this machine, made for a test."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.access.certificate import self_signed


def write_pair(certificate: Path, key: Path) -> int:
    """A certificate of 127.0.0.1 that is its own authority, and its key, as PEM files; returns its serial number."""
    private, public = self_signed(["127.0.0.1"])
    key.write_text(private)
    certificate.write_text(public)
    return x509.load_pem_x509_certificate(public.encode()).serial_number


def serial_shown(port: int) -> int:
    """Of the certificate that the server on this port shows."""
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", port)).encode()).serial_number


def write_signed(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """An authority, and a certificate of 127.0.0.1 that it signed. `names`: the variables of certificate, key and authority; what
    they hold is returned."""
    now = datetime.datetime.now(datetime.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def signed(name: str, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named("authority"))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=1)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256())

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate, private, trusted = names
    texts = {
        trusted: signed("authority", authority, x509.BasicConstraints(True, None)),
        certificate: signed("server", own, address),
    }
    files = {name: folder / f"{name}.pem" for name in names}
    for name, one in texts.items():
        files[name].write_bytes(one.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[private].write_bytes(own.private_bytes(serialization.Encoding.PEM, pem, plain))
    return {name: str(file) for name, file in files.items()}
