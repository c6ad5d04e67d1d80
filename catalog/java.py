"""Where Java and the jars are that `sluice up` fetched, or an image has."""

import os
from pathlib import Path

from catalog.errors import SluiceError


def java_home() -> Path | None:
    """The home of the Java that SLUICE_JAVA names, or JAVA_HOME; None if neither names one."""
    if java := os.environ.get("SLUICE_JAVA"):
        return Path(java).resolve().parent.parent
    home = os.environ.get("JAVA_HOME")
    return Path(home) if home else None


def spark_jars() -> list[str]:
    """The jars of Iceberg, Kafka and PostgreSQL. Raises SluiceError where they are missing."""
    folder = Path(os.environ.get("SLUICE_SPARK_JARS", ""))
    jars = sorted(str(path.absolute()) for path in folder.glob("*.jar")) if folder.name else []
    if not any("iceberg-spark-runtime" in jar for jar in jars):
        raise SluiceError(
            f"SLUICE_SPARK_JARS={str(folder)!r} has no Iceberg runtime; `./sluice up` fetches the jars and sets it"
        )
    return jars
