"""Certificates for servers on this machine, made for a test."""

import ssl
from pathlib import Path

from cryptography import x509

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
