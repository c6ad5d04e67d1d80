"""Prometheus and Alertmanager, where they are installed: the same rules as in containers, targets of the native stack."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from catalog.errors import SluiceError
from infra.native import encryption, probes
from infra.native.config import CHECKOUT, Stack, parse_memory
from infra.native.part import Part

PARTS = ("alertmanager", "prometheus")
# Of each part, the names under which it may be installed, and Debian's package.
PROGRAMS = {
    "prometheus": (("prometheus",), "prometheus"),
    "alertmanager": (("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager"),
}
FOLDER = CHECKOUT / "infra" / "monitoring"
SCRAPED_AT = {"gateway": "gateway_metrics"}  # where it asks nobody for a key, on loopback and in the clear


def program(part: str) -> str | None:
    """Where a part is installed, if it is."""
    return next((found for name in PROGRAMS[part][0] if (found := shutil.which(name))), None)


def remedy(parts: Iterable[str]) -> str:
    """The command that installs what these parts lack."""
    packages = " ".join(PROGRAMS[part][1] for part in parts)
    return f"apt-get install --no-install-recommends {packages}"


def require_installed(services: Iterable[str]) -> None:
    """Raises SluiceError that says what of the monitoring is not installed, and how to install it."""
    lacking = [name for name in services if name in PROGRAMS and program(name) is None]
    if lacking:
        are = "are" if len(lacking) > 1 else "is"
        raise SluiceError(f"{' and '.join(lacking)} {are} not installed (not in PATH): {remedy(lacking)}")


def configuration(stack: Stack) -> str:
    """Prometheus' configuration for containers, with this stack's addresses. What has no port here (Redpanda's own metrics) is left
    out."""
    document = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yaml").read_text())
    document["rule_files"] = [str(FOLDER / "prometheus" / "rules" / "*.yaml")]
    document["alerting"]["alertmanagers"] = [_targets(stack, "alertmanager")]
    document["scrape_configs"] = [
        {**job, **_targets(stack, job["job_name"])}
        for job in document["scrape_configs"]
        if job["job_name"] in stack.ports
    ]
    return f"# Written at each start.\n{yaml.safe_dump(document, sort_keys=False)}"


def _targets(stack: Stack, name: str) -> dict[str, Any]:
    name = SCRAPED_AT.get(name, name)
    found: dict[str, Any] = {"static_configs": [{"targets": [stack.address(name)]}]}
    if name in encryption.WAYS and (authority := stack.ca(name)):
        found |= {"scheme": "https", "tls_config": {"ca_file": str(authority)}}
    return found


def prometheus_part(stack: Stack) -> Part:
    """Keeps 15 days, and no more than a gigabyte."""
    file = stack.folder("etc", "prometheus.yaml")

    def prepare() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(configuration(stack))

    return _part(
        stack,
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={stack.folder('data', 'prometheus')}",
        "--storage.tsdb.retention.time=15d",
        "--storage.tsdb.retention.size=1GB",
        prepare=prepare,
    )


def alertmanager_part(stack: Stack) -> Part:
    """Alone: it looks for no others of its kind. `SLUICE_ALERTMANAGER_CONFIG` names a file that says who is told."""
    named = os.environ.get("SLUICE_ALERTMANAGER_CONFIG")
    file = Path(named).absolute() if named else FOLDER / "alertmanager" / "alertmanager.yaml"

    def prepare() -> None:
        if not file.is_file():
            raise SluiceError(f"SLUICE_ALERTMANAGER_CONFIG={named!r} is no file: name Alertmanager's configuration")

    return _part(
        stack,
        "alertmanager",
        f"--config.file={file}",
        f"--storage.path={stack.folder('data', 'alertmanager')}",
        "--cluster.listen-address=",
        prepare=prepare,
    )


def _part(stack: Stack, name: str, *options: str, prepare: Callable[[], None]) -> Part:
    found = program(name)
    if found is None:
        raise SluiceError(f"{name} is not installed (not in PATH): {remedy([name])}")
    url = f"http://{stack.address(name)}"
    probe = probes.http(f"{url}/-/ready")
    return Part(
        name=name,
        command=(found, f"--web.listen-address={stack.address(name)}", "--log.level=warn", *options),
        environment={"GOMEMLIMIT": f"{parse_memory('memory', stack.memory[name]) >> 20}MiB"},
        ready=probe,
        healthy=probe,
        port=stack.ports[name],
        url=url,
        memory=stack.memory[name],
        prepare=prepare,
    )
