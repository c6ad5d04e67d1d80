"""The stack in containers. Needs a container engine (any that DOCKER_HOST names); run it by `./sluice test --compose`."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stack import CHECKOUT, free_port_base

if os.environ.get("SLUICE_TEST_COMPOSE") != "1":
    collect_ignore_glob = ["test_*.py"]

FILES = ("compose.yaml", "infra/compose.self-contained.yaml")
PORTS = ("UI", "GATEWAY", "TRINO", "MINIO", "KAFKA", "POSTGRES")


@dataclass(frozen=True)
class Compose:
    """A project of Compose with ports of its own; `environment` holds its passwords and ports."""

    project: str
    environment: dict[str, str]
    ports: dict[str, int]

    def run(self, *arguments: str, limit: float = 900.0) -> str:
        """Run `docker compose ARGUMENTS`, which must succeed, and return what it printed."""
        files = [option for file in FILES for option in ("-f", file)]
        done = subprocess.run(
            # What somebody has in .env here is not for this stack.
            ["docker", "compose", "--env-file", os.devnull, "-p", self.project, *files, *arguments],
            cwd=CHECKOUT, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=limit, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def url(self, part: str) -> str:
        return f"http://127.0.0.1:{self.ports[part]}"


@pytest.fixture(scope="session")
def images() -> None:
    """All images, as `./sluice images` builds them; SLUICE_BUILD_ARGS names other base images."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.fail("--compose needs a container engine: start Docker, or set DOCKER_HOST")
    subprocess.run([sys.executable, "-m", "infra.cli", "images", "--servers"], cwd=CHECKOUT, check=True, timeout=1500)


@pytest.fixture(scope="session")
def compose(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The self-contained stack, up and healthy. SLUICE_KEEP=1 leaves it."""
    base = free_port_base()
    ports = {name.lower(): base + place for place, name in enumerate(PORTS)}
    names = [
        line.split("=")[0]
        for line in (CHECKOUT / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    environment = {name: secrets.token_hex(16) for name in names}
    environment |= {f"SLUICE_PORT_{name.upper()}": str(port) for name, port in ports.items()}
    stack = Compose(f"sluice-test-{secrets.token_hex(3)}", environment, ports)
    try:
        stack.run("up", "--wait", "--wait-timeout", "600")
        yield stack
    finally:
        if os.environ.get("SLUICE_KEEP") == "1":
            print(f"\nkept: docker compose -p {stack.project} ps")
        else:
            logs = Path(tmp_path_factory.getbasetemp(), "compose.log")
            logs.write_text(stack.run("logs", "--no-color"))
            stack.run("down", "--volumes", "--timeout", "20")
