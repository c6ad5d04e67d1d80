"""The Spark session: Iceberg's JDBC catalog `lake`, S3 and Kafka, with bounded memory."""

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

from pyspark.sql import SparkSession

from catalog.java import java_home, spark_jars
from catalog.lake import jdbc_uri
from catalog.settings import LakeSettings
from catalog.trust import for_java
from stream_jobs.settings import StreamSettings, scratch

# Seconds that the JVM may take to end.
LAST_WORDS = 50


def make_session(lake: LakeSettings, stream: StreamSettings, name: str = "sluice-stream") -> SparkSession:
    """Start the JVM. Raises SluiceError where the extra jars or Java are missing."""
    jars = spark_jars()
    if home := java_home():
        # PySpark looks for $JAVA_HOME/bin/java and for nothing else.
        os.environ["JAVA_HOME"] = str(home)
    # Workers must run this environment's Python, not the system's.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    builder = SparkSession.builder.appName(name).master(f"local[{stream.slots}]")
    for key, value in _configuration(lake, stream, jars).items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    # Not at the start: what is given there stands in the JVM's command line, which anybody on the machine may read.
    for key, value in _catalog(lake).items():
        session.conf.set(key, value)
    return session


def end_session(session: SparkSession) -> None:
    """Stop Spark and wait until its JVM has ended, which at its first end keeps the classes that it loaded for later starts."""
    jvm = session.sparkContext._gateway.proc
    session.stop()
    jvm.stdin.close()  # it ends when nobody can speak to it any more
    with suppress(subprocess.TimeoutExpired):
        jvm.wait(LAST_WORDS)


def activate(session: SparkSession) -> None:
    """Make this session the calling thread's own. Spark finds catalogs by the active session, and a new thread has none."""
    _setter(session)(session._jsparkSession)


@lru_cache(maxsize=1)
def _setter(session: SparkSession) -> Any:
    """Looked up once: py4j searches all jars for each part of a dotted name, each time, and one search keeps the others waiting."""
    jvm: Any = session._jvm
    return jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession


def _configuration(lake: LakeSettings, stream: StreamSettings, jars: list[str]) -> dict[str, str]:
    local = scratch()
    (local / "spark").mkdir(parents=True, exist_ok=True)
    return {
        "spark.driver.memory": stream.memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        # The driver class path, not spark.jars: nothing is copied at start, and the JDBC driver is found.
        "spark.driver.extraClassPath": ":".join(jars),
        # The JVM moves bytes and commits; it is not where rows are computed. The second compiler would take more of the
        # processor in the first minutes than all else together, for code that is not hot.
        # Folders may have blanks in their names; Spark takes quotes as a shell does.
        "spark.driver.extraJavaOptions": shlex.join(
            [
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                *for_java(lake.s3_ca, "SLUICE_S3_CA", java_home(), local / "authorities"),
                *shlex.split(stream.java_options),
                f"-Dderby.system.home={local}",
            ]
        ),
        "spark.local.dir": str(local / "spark"),
        "spark.sql.warehouse.dir": str(local / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.scheduler.mode": "FAIR",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.adaptive.enabled": "false",  # batches are small; replanning costs more than it saves
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.sql.streaming.minBatchesToRetain": "2",
        "spark.sql.streaming.stopTimeout": "30s",
    }


def _catalog(lake: LakeSettings) -> dict[str, str]:
    catalog = f"spark.sql.catalog.{lake.catalog_name}"
    address, user, password = jdbc_uri(lake.catalog_uri)
    return {
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": address,
        f"{catalog}.jdbc.user": user,
        f"{catalog}.jdbc.password": password,
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.warehouse": lake.warehouse,
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{catalog}.s3.endpoint": lake.s3_endpoint,
        f"{catalog}.s3.path-style-access": "true",
        **{f"{catalog}.{name}": value for name, value in lake.s3_keys.items()},
        f"{catalog}.client.region": lake.s3_region,
        # A cached table would show the guard an older state than the one it must judge.
        f"{catalog}.cache-enabled": "false",
    }
