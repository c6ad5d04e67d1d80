"""`sluice images`: build the container images."""

import time
from typing import Annotated

import typer
from rich.console import Console

from catalog.errors import SluiceError
from infra.images.build import OWN, SERVERS, build
from infra.native.cache import cache_folder


def images(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which: {', '.join(OWN + SERVERS)}.")] = None,
    servers: Annotated[
        bool, typer.Option("--servers", help="Also Kafka, MinIO, PostgreSQL and Trino, for sites without a registry.")
    ] = False,
    tag: Annotated[str, typer.Option(help="Tag of the images.")] = "0.1.0",
    build_arg: Annotated[
        list[str] | None,
        typer.Option(envvar="SLUICE_BUILD_ARGS", help="Another base image, like PYTHON=python:3.13-slim."),
    ] = None,
) -> None:
    """Build the images sluice/<name>:<tag> with the container engine that DOCKER_HOST names.

    Exit code: 0 all are built, 1 one could not be, 2 wrong usage.
    """
    chosen = tuple(names or OWN + (SERVERS if servers else ()))
    if unknown := [name for name in chosen if name not in OWN + SERVERS]:
        raise SluiceError(f"There is no image {unknown[0]!r}; the images are {', '.join(OWN + SERVERS)}")
    arguments = dict(_pair(text) for text in build_arg or [])
    console = Console()
    for name in chosen:
        started = time.monotonic()
        build(name, tag, arguments, cache_folder())
        console.print(f"sluice/{name}:{tag} in {time.monotonic() - started:.0f} s", highlight=False)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise SluiceError(f"--build-arg {text}: write it as NAME=VALUE")
    return name, value
