"""What this machine has and lacks for running a stack."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from catalog.errors import SluiceError
from infra.native import config, control, golang, java, monitoring, processes
from infra.native.cache import cache_folder, is_complete, size_of
from infra.native.components import Component, components, this_platform
from infra.native.fetch import MISSING, needed
from infra.native.parts import EXTRA_SERVICES, SERVICES

GIB = 1 << 30
MEMORY_WANTED = 6 * GIB
DISK_WANTED = 10 * GIB


@dataclass(frozen=True)
class Finding:
    """One fact. `lack` stops `up` or will; `fetch` is had by `up` itself; `remedy` is what to do or type."""

    subject: str
    verdict: Literal["ok", "fetch", "note", "lack"]
    detail: str
    remedy: str = ""


def findings(state: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Everything worth knowing, in the order in which `up` would meet it."""
    cache = cache_folder()
    return [
        Finding("machine", "ok", f"{this_platform()}, {platform.release()}, {_user()}"),
        Finding("python", "ok", f"{platform.python_version()} in {sys.prefix}"),
        _cores(),
        _memory(),
        _disk("disk", state),
        *([] if _same_disk(state, cache) else [_disk("cache disk", cache)]),
        *_javas(cache),
        _go(cache),
        *_privileges(),
        *_fetched(cache),
        *_monitoring(),
        *_stack(state, environ),
    ]


def _user() -> str:
    return "root (PostgreSQL runs as nobody)" if os.geteuid() == 0 else f"user {os.geteuid()}"


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(
        "cores", "ok" if cores >= 2 else "note", f"{cores}", "" if cores >= 2 else "a start takes minutes on one core"
    )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    text = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB available"
    if memory.available >= MEMORY_WANTED:
        return Finding("memory", "ok", text)
    return Finding(
        "memory",
        "note",
        text,
        "the whole stack takes up to 6 GiB; lower SLUICE_MEMORY_TRINO and SLUICE_MEMORY_STREAM, or use --only",
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _same_disk(one: Path, other: Path) -> bool:
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _disk(subject: str, folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{free / GIB:.1f} GiB free for {folder}"
    if free >= DISK_WANTED:
        return Finding(subject, "ok", text)
    return Finding(subject, "note", text, "make room, or move it with SLUICE_STATE or SLUICE_CACHE")


def _javas(cache: Path) -> Iterator[Finding]:
    for subject, versions, wheel, users in (
        ("java 17, 21", java.SPARK, "java21", "Spark, Kafka"),
        ("java 24+", java.TRINO, "java25", "Trino"),
    ):
        if installed := java.installed_java(versions):
            yield Finding(subject, "ok", f"{installed.path} (version {installed.version}) for {users}")
        else:
            yield _wheel(subject, components()[wheel], cache, users, MISSING[wheel])


def _go(cache: Path) -> Finding:
    if is_complete(components()["minio"].folder(cache)):
        return Finding("go", "ok", "not needed: MinIO is built")
    if installed := golang.installed_go():
        return Finding("go", "ok", f"{installed} will build MinIO (2 to 5 minutes, once)")
    return _wheel("go", components()["go"], cache, "building MinIO", MISSING["go"])


def _wheel(subject: str, component: Component, cache: Path, users: str, remedy: str) -> Finding:
    if is_complete(component.folder(cache)):
        return Finding(subject, "ok", f"{component.folder(cache)} for {users}")
    if not component.artifacts:
        return Finding(
            subject, "lack", f"none installed for {users}, and none can be fetched for {this_platform()}", remedy
        )
    return Finding(subject, "fetch", f"{component.size / 1e6:.0f} MB for {users}")


def _privileges() -> Iterator[Finding]:
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        yield Finding("setpriv", "lack", "root runs PostgreSQL through it", "apt-get install util-linux")


def _fetched(cache: Path) -> Iterator[Finding]:
    for name in sorted(needed(SERVICES) - {"java21", "java25"}):
        component = components()[name]
        folder = component.folder(cache)
        if is_complete(folder):
            yield Finding(name, "ok", f"{component.version} in {folder} ({size_of(folder) / 1e6:.0f} MB)")
        elif not component.artifacts:
            yield Finding(name, "lack", f"none can be fetched for {this_platform()}", MISSING.get(name, ""))
        elif component.source == "go":
            yield Finding(name, "fetch", f"{component.version}, built from source")
        else:
            yield Finding(name, "fetch", f"{component.version}, {component.size / 1e6:.0f} MB")


def _monitoring() -> Iterator[Finding]:
    """What `up --with monitoring` needs; nothing else does."""
    for part in monitoring.PARTS:
        if found := monitoring.program(part):
            yield Finding(part, "ok", f"{found} for `up --with monitoring`")
        else:
            yield Finding(part, "note", "not installed; `up --with monitoring` needs it", monitoring.remedy([part]))


def _stack(state: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The ports, unless parts of this stack have them."""
    try:
        stack = config.choose(state, environ)
    except SluiceError as failure:
        yield Finding("settings", "lack", str(failure))
        return
    running = control.view(state).running()
    if running:
        yield Finding("stack", "ok", f"runs: {', '.join(name for name in running)}")
    taken = {
        name: owner
        for name, port in stack.ports.items()
        if name.partition("_")[0] not in running and (owner := processes.owner_of_port(stack.bind, port))
    }
    for name, owner in taken.items():
        remedy = f"./sluice up --port {name}=NUMBER" if len(taken) == 1 else "./sluice up --port-base NUMBER moves all"
        verdict: Literal["note", "lack"] = "note" if name in EXTRA_SERVICES else "lack"
        yield Finding("ports", verdict, f"{stack.ports[name]} for {name} is taken by {owner}", remedy)
    if not running and not taken:
        yield Finding("ports", "ok", f"{min(stack.ports.values())} to {max(stack.ports.values())} on {stack.bind}")
