"""Disks and certificates, looked at whenever Prometheus asks: what ends sooner or later if nobody sees to it."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

log = structlog.get_logger("watched")


@dataclass(frozen=True)
class Watched(Collector):
    """Folders whose disks, and PEM files, or folders of such, whose certificates are told. A file that can't be read has ended in
    1970: somebody must look."""

    disks: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()

    def collect(self) -> Iterable[Metric]:
        """One family each; a folder that is not there is left out."""
        free = GaugeMetricFamily(
            "sluice_disk_free_bytes", "Free bytes of the disk that holds a folder.", labels=["path"]
        )
        size = GaugeMetricFamily("sluice_disk_bytes", "Size of the disk that holds a folder.", labels=["path"])
        for path in self.disks:
            try:
                disk = shutil.disk_usage(path)
            except OSError as failure:
                log.warning("disk", path=str(path), reason=str(failure))
                continue
            free.add_metric([str(path)], disk.free)
            size.add_metric([str(path)], disk.total)
        ends = GaugeMetricFamily(
            "sluice_certificate_expires_timestamp_seconds",
            "When the first certificate of a file ends; 0 where the file can't be read.",
            labels=["path"],
        )
        for path in self.certificates:
            for file in sorted(path.glob("*.crt")) if path.is_dir() else [path]:
                ends.add_metric([str(file)], first_end(file))
        return (free, size, ends)


def first_end(path: Path) -> float:
    """When the first of a PEM file's certificates ends, in seconds since 1970; 0 if it holds none or can't be read."""
    try:
        return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as failure:
        log.error("certificate", path=str(path), reason=str(failure))
        return 0.0


def paths(text: str) -> tuple[Path, ...]:
    """Paths that a setting separates by commas."""
    return tuple(_each(text))


def _each(text: str) -> Iterator[Path]:
    for part in text.split(","):
        if name := part.strip():
            yield Path(name)
