"""Which of the locked packages an image gets: what its code imports, and what that depends on.

`python -m infra.images.packages` writes `packages/<image>.txt` from `roots.toml`; the build takes versions and hashes for
these names from requirements.lock, so that there is one lock. A new version of a package changes nothing here.
"""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import cast

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
LOCK = HERE.parents[1] / "requirements.lock"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def roots() -> dict[str, list[str]]:
    """Requirements that each image states itself."""
    return tomllib.loads((HERE / "roots.toml").read_text())


def locked() -> set[str]:
    """Canonical names of everything in requirements.lock."""
    return {
        canonicalize_name(name)
        for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", LOCK.read_text(), re.MULTILINE)
    }


def closure(requirements: Iterable[str]) -> list[str]:
    """Names of the packages and of all that they need on Linux, whichever Python the base image has; sorted."""
    known, found, todo = locked(), set[tuple[str, str]](), [Requirement(text) for text in requirements]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if name in known and (name, extra) not in found:
                found.add((name, extra))
                todo += needs(name, extra)
    return sorted({name for name, _ in found})


@cache
def needs(name: str, extra: str) -> list[Requirement]:
    """What an installed package asks for; a package for another Python is not installed here, and none of those ask for more."""
    try:
        lines = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return [line for line in lines if any(_applies(line, extra, python) for python in PYTHONS)]


def _applies(line: Requirement, extra: str, python: str) -> bool:
    if line.marker is None:
        return not extra
    linux: dict[str, str] = {
        **cast(dict[str, str], default_environment()), "extra": extra,
        "python_version": python, "python_full_version": f"{python}.0",
        "sys_platform": "linux", "platform_system": "Linux", "platform_python_implementation": "CPython",
    }  # fmt: skip
    return line.marker.evaluate(linux)


def write() -> None:
    """Write every image's list."""
    for image, wanted in roots().items():
        (HERE / "packages" / f"{image}.txt").write_text("\n".join(closure(wanted)) + "\n")


if __name__ == "__main__":
    write()
