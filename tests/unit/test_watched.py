"""Free disk and ends of certificates, as Prometheus is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry

from catalog.watched import Watched, paths

ENDS = "sluice_certificate_expires_timestamp_seconds"


def certificate(until: datetime) -> bytes:
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, until - timedelta(days=90), until)
    return made.sign(key, None).public_bytes(Encoding.PEM)


def told(*, disks: tuple[Path, ...] = (), certificates: tuple[Path, ...] = ()) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Watched(disks, certificates))
    return registry


def test_a_chain_ends_with_its_first_certificate(tmp_path: Path) -> None:
    soon, late = (datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) for days in (3, 300))
    chain = tmp_path / "tls.pem"
    chain.write_bytes(certificate(late) + certificate(soon))
    registry = told(certificates=(chain,))
    assert registry.get_sample_value(ENDS, {"path": str(chain)}) == soon.timestamp()
    chain.write_bytes(certificate(late))  # renewed: seen without a restart
    assert registry.get_sample_value(ENDS, {"path": str(chain)}) == late.timestamp()


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_cannot_be_read_has_ended(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "tls.pem"
    if content is not None:
        file.write_bytes(content)
    assert told(certificates=(file,)).get_sample_value(ENDS, {"path": str(file)}) == 0


def test_a_disk_has_room_and_a_size_and_a_folder_that_is_gone_is_left_out(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    registry = told(disks=(tmp_path, gone))
    free, size = (
        registry.get_sample_value(f"sluice_disk_{name}bytes", {"path": str(tmp_path)}) for name in ("free_", "")
    )
    assert free is not None
    assert size is not None
    assert 0 < free <= size
    assert registry.get_sample_value("sluice_disk_bytes", {"path": str(gone)}) is None


def test_paths_are_separated_by_commas() -> None:
    assert paths(" /a, /b/c.pem,") == (Path("/a"), Path("/b/c.pem"))
    assert paths("") == ()


def test_of_a_folder_each_certificate_that_is_there_is_told(tmp_path: Path) -> None:
    assert told(certificates=(tmp_path,)).get_sample_value(ENDS, {"path": str(tmp_path)}) is None, "none is there"
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    (tmp_path / "trino.crt").write_bytes(certificate(soon))
    (tmp_path / "other.crt").write_bytes(b"no certificate")
    registry = told(certificates=(tmp_path,))
    assert registry.get_sample_value(ENDS, {"path": str(tmp_path / "trino.crt")}) == soon.timestamp()
    assert registry.get_sample_value(ENDS, {"path": str(tmp_path / "other.crt")}) == 0
