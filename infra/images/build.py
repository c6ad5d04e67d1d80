"""Build the images with `docker`: Sluice's own from the checkout, the servers from what the native stack fetches."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from catalog.errors import SluiceError
from infra.native.cache import MARKER
from infra.native.components import components
from infra.native.config import CHECKOUT
from infra.native.fetch import fetch

HERE = Path(__file__).parent
OWN = ("gateway", "stream", "ui", "cli")
SERVERS = ("kafka", "minio", "postgres", "trino")


def build(image: str, tag: str, arguments: Mapping[str, str], cache: Path) -> None:
    """Build `sluice/<image>:<tag>`. Raises SluiceError with the build's last lines."""
    if image in OWN:
        _docker(HERE / "Dockerfile", image, tag, arguments, CHECKOUT)
        return
    fetch({image}, cache)
    context = cache / "images" / image
    shutil.rmtree(context, ignore_errors=True)
    _link(components()[image].folder(cache), context / image)
    for script in (HERE / "servers").glob("*.sh"):
        shutil.copy(script, context)
    try:
        _docker(HERE / "servers" / "Dockerfile", image, tag, arguments, context)
    finally:
        shutil.rmtree(context, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """The same files under another folder, without a second copy; class archives fit only the Java that wrote them."""

    def unwanted(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name.endswith(".jsa") or name == MARKER}

    shutil.copytree(source, target, symlinks=True, ignore=unwanted, copy_function=os.link)


def _docker(file: Path, target: str, tag: str, arguments: Mapping[str, str], context: Path) -> None:
    command = ["docker", "build", "-f", str(file), "--target", target, "-t", f"sluice/{target}:{tag}"]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    _run([*command, str(context)], target)


def _run(command: Sequence[str], target: str) -> None:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except FileNotFoundError:
        raise SluiceError("there is no `docker` here: install Docker, or name another engine in DOCKER_HOST") from None
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise SluiceError(
            f"the image {target} could not be built (exit code {done.returncode}); what was said is above"
        )
