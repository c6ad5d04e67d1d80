"""The parts of a stack, in the order in which data flows through them, and what each waits for."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from catalog.errors import SluiceError
from infra.access.accounts import OPERATOR
from infra.access.trino_users import BUILDER, EXPLORER
from infra.native import monitoring, probes
from infra.native.cache import cache_folder
from infra.native.components import components
from infra.native.config import (
    ADMINISTRATOR,
    CHECKOUT,
    LOOPBACK,
    Stack,
    administration,
    broker_administration,
    credentials,
    parse_memory,
    trino_credentials,
)
from infra.native.encryption import WAYS
from infra.native.java import class_archive
from infra.native.kafka import kafka_part
from infra.native.part import YIELDS, YIELDS_MOST, Part
from infra.native.postgres import postgres_part
from infra.native.trino import trino_part
from infra.private_files import write_private

# Every service, in the order in which `status` shows them.
SERVICES = ("postgres", "minio", "kafka", "trino", "gateway", "stream", "maintenance", "gold", "verify", "ui")
# What `up --with NAME` adds.
EXTRAS = {"monitoring": monitoring.PARTS}
EXTRA_SERVICES = tuple(name for names in EXTRAS.values() for name in names)
# `down` ends these groups one after another, so that nothing is asked for what is already gone.
STOP_ORDER = (
    ("prometheus", "alertmanager"),  # first: what is ended on purpose is no alert
    ("ui", "gold", "verify", "maintenance", "tables", "catalog", "accounts"),
    ("gateway",),
    ("stream",),
    ("trino",),
    ("kafka", "minio"),
    ("postgres",),
)
NEEDS: dict[str, tuple[str, ...]] = {
    "postgres": (),
    "minio": (),
    "kafka": (),
    "accounts": ("kafka",),
    "catalog": ("postgres", "minio"),
    "trino": ("catalog",),
    "tables": ("catalog", "kafka", "accounts"),
    "gateway": ("tables",),
    "stream": ("tables",),
    "maintenance": ("catalog",),
    "gold": ("tables", "trino"),
    "verify": ("tables",),
    "ui": (),
    "prometheus": (),
    "alertmanager": (),
}
STEPS = ("accounts", "catalog", "tables")
STACK_KIB = 2048  # what Python does with on Windows, too
# Large blocks come from the system one by one and go back to it. Arrow's own allocator takes 128 MiB at a time, and an arena
# of the C library's keeps what was freed: both count as data, though most of it is never touched again.
FRUGAL = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(256 << 10)}


def selection(only: str | None, extras: Iterable[str] = ()) -> list[str]:
    """The services that `--only a,b` names, or all but the extras, and those of `--with`. Raises SluiceError for an unknown one."""
    names = list(SERVICES) if only is None else [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        known_service(name)
    if not names:
        raise SluiceError(f"No part is named: name some of {', '.join(SERVICES)}")
    for extra in extras:
        if extra not in EXTRAS:
            raise SluiceError(f"--with {extra}: there is nothing of that name; it may be {' or '.join(EXTRAS)}")
        names += EXTRAS[extra]
    return [name for name in (*SERVICES, *EXTRA_SERVICES) if name in names]


def known_service(name: str) -> None:
    known = (*SERVICES, *EXTRA_SERVICES)
    if name not in known:
        raise SluiceError(f"There is no part {name!r}; the parts are {', '.join(known)}")


def with_steps(services: Iterable[str], running: Iterable[str] = ()) -> list[str]:
    """Add the one-time steps that the chosen services wait for, as far as what those need is there."""
    chosen = set(services)
    if "kafka" in chosen:  # without users nobody is let in
        chosen.add("accounts")
    for step in reversed(STEPS):
        wanted = any(step in NEEDS[name] for name in chosen)
        if wanted and all(need in chosen or need in STEPS or need in running for need in NEEDS[step]):
            chosen.add(step)
    return [name for name in NEEDS if name in chosen]


def build(stack: Stack, name: str) -> Part:
    """A part with the stack's current settings. Raises SluiceError if something that it needs was never fetched."""
    makers: dict[str, Callable[[Stack], Part]] = {
        "postgres": postgres_part,
        "minio": _minio,
        "kafka": kafka_part,
        "trino": trino_part,
        "gateway": _gateway,
        "stream": _stream,
        "maintenance": _maintenance,
        "gold": _gold,
        "verify": _verify,
        "ui": _ui,
        "prometheus": monitoring.prometheus_part,
        "alertmanager": monitoring.alertmanager_part,
    }
    return makers[name](stack) if name in makers else _step(stack, name)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", *arguments)


def _bounded(limit: str, *command: str) -> tuple[str, ...]:
    """Bound a Python program's data (heap and anonymous mappings), which `ulimit -v` would overstate.

    A thread's stack counts as data as a whole, and hardly any of it is ever touched: twenty of 8 MiB were a third of a limit.
    """
    bounds = f"ulimit -S -s {STACK_KIB}; ulimit -d {parse_memory('memory', limit) >> 10}"
    return ("/bin/sh", "-c", f'{bounds}; exec "$@"', "sh", *_python(*command))


def _minio(stack: Stack) -> Part:
    data = stack.folder("data", "minio")
    program = components()["minio"].folder(cache_folder()) / "minio"
    shown = stack.folder("etc", "minio")
    probe = probes.http(f"{stack.url('minio')}/minio/health/live", stack.ca("minio"))

    def prepare() -> None:
        data.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(shown, ignore_errors=True)
        shown.mkdir(parents=True, mode=0o700)
        if way := stack.way("minio"):
            write_private(shown / "public.crt", way.certificate.read_text())
            write_private(shown / "private.key", way.key.read_text())

    return Part(
        name="minio",
        command=(
            *(str(program), "server", str(data), "--address", f"{stack.bind}:{stack.ports['minio']}", "--quiet"),
            *("--certs-dir", str(shown)),
        ),
        environment={
            "MINIO_ROOT_USER": ADMINISTRATOR,
            "MINIO_ROOT_PASSWORD": stack.passwords["s3"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "GOMEMLIMIT": f"{parse_memory('memory', stack.memory['minio']) >> 20}MiB",
        },
        ready=probe,
        healthy=probe,
        port=stack.ports["minio"],
        url=stack.url("minio"),
        memory=stack.memory["minio"],
        prepare=prepare,
    )


def _step(stack: Stack, name: str) -> Part:
    administrators = {"accounts": broker_administration, "catalog": administration}
    return Part(
        name=name,
        command=_python("-m", "infra.native.steps", name),
        environment=credentials(stack, OPERATOR) | (administrators[name](stack) if name in administrators else {}),
        ready=probes.process_only,
        healthy=probes.process_only,
        needs=NEEDS[name],
        once=True,
    )


def _answering(
    stack: Stack,
    name: str,
    health: str,
    *command: str,
    shown: str = "",
    environment: Mapping[str, str] | None = None,
    yields: int = 0,
) -> Part:
    """A Python program whose data is bounded, and which is ready and well when it answers at `health`."""
    url, trusted = (stack.url(name), stack.ca(name)) if name in WAYS else (f"http://{stack.address(name)}", None)
    return Part(
        name=name,
        command=_bounded(stack.memory[name], *command),
        environment=environment or {},
        ready=probes.http(f"{url}{health}", trusted),
        healthy=probes.http(f"{url}{health}", trusted),
        port=stack.ports[name],
        url=f"{url}{shown}",
        memory=stack.memory[name],
        needs=NEEDS[name],
        yields=yields,
    )


def _gateway(stack: Stack) -> Part:
    return _answering(
        stack,
        "gateway",
        "/readyz",
        *("-m", "ingest_gateway"),
        # For this stack's own Prometheus, which has no API key.
        environment=credentials(stack, "gateway")
        | {"SLUICE_GATEWAY_METRICS_HOST": LOOPBACK, "SLUICE_GATEWAY_METRICS_PORT": str(stack.ports["gateway_metrics"])},
    )


def _stream(stack: Stack) -> Part:
    from infra.native.fetch import java_for_spark

    url = f"http://{stack.address('stream')}"
    runtime = java_for_spark(cache_folder())
    return Part(
        name="stream",
        command=_python("-m", "stream_jobs"),
        environment={
            **credentials(stack, "stream"),
            "JAVA_HOME": str(runtime.home),
            "PYSPARK_PYTHON": sys.executable,
            # What the user wants comes last, and so counts.
            "SLUICE_STREAM_JAVA_OPTIONS": shlex.join(class_archive(runtime, _spark_classes()))
            + f" {os.environ.get('SLUICE_STREAM_JAVA_OPTIONS', '')}",
            "SLUICE_STREAM_MEMORY": stack.memory["stream"],
            "SPARK_LOCAL_IP": stack.bind,
        },
        ready=probes.health(f"{url}/healthz"),
        healthy=probes.health(f"{url}/healthz"),
        port=stack.ports["stream"],
        url=f"{url}/healthz",
        memory=stack.memory["stream"],
        needs=NEEDS["stream"],
        stop_limit=60,  # the first end writes the class archive
    )


def _spark_classes() -> Path:
    """Where the classes that Spark loads are kept: they belong to the jars, and to those of this environment's pyspark."""
    environment = sha256(sys.prefix.encode()).hexdigest()[:12]
    return components()["spark-jars"].folder(cache_folder()) / f"spark-{environment}.jsa"


def _maintenance(stack: Stack) -> Part:
    return _answering(
        stack,
        "maintenance",
        "/healthz",
        "-m",
        "catalog.maintenance",
        shown="/healthz",
        environment=credentials(stack, "maintenance") | FRUGAL,
        yields=YIELDS,
    )


def _gold(stack: Stack) -> Part:
    return _answering(
        stack,
        "gold",
        "/healthz",
        *("-m", "catalog.gold_refresh"),
        shown="/healthz",
        environment=trino_credentials(stack, BUILDER),
        yields=YIELDS,
    )


def _verify(stack: Stack) -> Part:
    return _answering(
        stack,
        "verify",
        "/healthz",
        "-m",
        "stream_jobs.verify",
        shown="/healthz",
        environment=credentials(stack, "verify"),
        yields=YIELDS_MOST,
    )


def _ui(stack: Stack) -> Part:
    way = stack.way("ui")
    encrypted = ("--server.sslCertFile", str(way.certificate), "--server.sslKeyFile", str(way.key)) if way else ()
    return _answering(
        stack, "ui", "/_stcore/health",
        *("-m", "streamlit", "run", str(CHECKOUT / "ui" / "app.py")),
        *("--server.headless", "true", "--server.address", stack.binding("ui"), "--server.port", str(stack.ports["ui"])),
        *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none", "--client.toolbarMode", "minimal"),
        *encrypted,
        environment=credentials(stack, "explorer") | trino_credentials(stack, EXPLORER),
    )  # fmt: skip
