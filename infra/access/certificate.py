"""A certificate for a server, where the site brings none: signed by itself, so that who trusts it trusts that server alone."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.access.trino_users import CERTIFICATE, KEYSTORE
from infra.private_files import write_private

LASTS = timedelta(days=397)  # what browsers accept at most
RENEWED = timedelta(days=30)  # before its end


def self_signed(names: Sequence[str]) -> tuple[str, str]:
    """(key, certificate) as PEM, for these host names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def serves(certificate: str, names: Sequence[str]) -> bool:
    """Whether a PEM certificate is for all these names and lasts a while yet."""
    try:
        known = x509.load_pem_x509_certificate(certificate.encode())
        found = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return all(_general(name) in found for name in names) and datetime.now(UTC) + RENEWED < known.not_valid_after_utc


def keep(folder: Path, names: Sequence[str]) -> None:
    """Have a key with a certificate for these names in the folder; a new one where the old is for others or about to end."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    public = folder / CERTIFICATE
    if public.exists() and (folder / KEYSTORE).exists() and (not _is_ours(public) or serves(public.read_text(), names)):
        return
    key, certificate = self_signed(names)
    write_private(folder / KEYSTORE, key + certificate)
    write_private(public, certificate)


def _is_ours(public: Path) -> bool:
    """One that somebody else has signed is the site's, and left to it."""
    try:
        known = x509.load_pem_x509_certificate(public.read_bytes())
    except ValueError:
        return True
    return known.issuer == known.subject


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
