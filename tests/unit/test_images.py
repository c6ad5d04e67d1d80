"""What can be told of the images without building them: how the Dockerfiles are written, and what each image holds."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from infra.images import packages
from infra.images.build import OWN, SERVERS
from tests.stack import CHECKOUT

IMAGES = CHECKOUT / "infra" / "images"
DOCKERFILES = (IMAGES / "Dockerfile", IMAGES / "servers" / "Dockerfile")
OURS = ("catalog", "ingest_gateway", "stream_jobs", "ui", "infra")
# Where each image's program begins, and what it imports only on a path that it never takes, or does without if it is not there.
ENTRIES = {
    "gateway": ("ingest_gateway.__main__", "ingest_gateway.app"),
    "stream": ("stream_jobs.__main__", "catalog.maintenance.__main__"),
    "ui": ("ui.app",),
    "cli": ("infra.cli", "catalog.gold_refresh", *(f"infra.commands.{name}" for name in ("apply", "send", "sql", "keys",
            "spool", "verify", "demo", "backup", "restore"))),
}  # fmt: skip
NEVER = {"gateway": {"compression", "opentelemetry"}, "ui": {"dbt"}, "stream": set[str](), "cli": {"compression"}}


def instructions(file: Path) -> list[tuple[str, str]]:
    """(instruction, what follows it), continued lines joined, comments dropped."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages(file: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """By name: what a stage begins from, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for word, rest in instructions(file):
        if word == "FROM":
            base, _, name = re.split(r"\s+", rest)
            found[name] = (base, [])
            current = found[name][1]
        elif found:
            current.append((word, rest))
    return found


def whole(file: Path, name: str) -> list[tuple[str, str]]:
    """A stage's instructions after those of the stages that it begins from."""
    base, own = stages(file)[name]
    return (whole(file, base) if base in stages(file) else []) + own


TARGETS = [(DOCKERFILES[0], name) for name in OWN] + [(DOCKERFILES[1], name) for name in SERVERS]


@pytest.mark.parametrize(("file", "name"), TARGETS, ids=lambda value: value if isinstance(value, str) else "")
def test_image_runs_as_nobody_in_particular_and_tells_its_health(file: Path, name: str) -> None:
    steps = whole(file, name)
    words = [word for word, _ in steps]
    assert [rest for word, rest in steps if word == "USER"][-1] == "10001:10001"
    assert words.index("USER") > max(place for place, word in enumerate(words) if word in ("RUN", "COPY"))
    assert ("HEALTHCHECK" in words) == (name != "cli"), "commands run to their end, all others listen"
    assert "CMD" in words
    labels = " ".join(rest for word, rest in steps if word == "LABEL")
    for label in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels
    for word, rest in steps:
        if word in ("CMD", "ENTRYPOINT"):
            assert json.loads(rest), "the shell form would keep signals from the program"


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfile_names_bases_by_argument_and_pins_them(file: Path) -> None:
    assert "syntax=" not in file.read_text().splitlines()[0]
    given = dict(rest.split("=", 1) for word, rest in instructions(file) if word == "ARG")
    names = stages(file)
    for base, steps in names.values():
        argument = re.fullmatch(r"\$\{(\w+)\}", base)
        assert base in names or (argument and argument[1] in given), f"{base}: name it by an ARG"
        if argument:
            version = given[argument[1]].partition(":")[2]
            assert re.search(r"\d+\.\d+", version), f"{given[argument[1]]} is not pinned"
        for word, rest in steps:
            assert word != "ADD"
            assert not re.search(r"curl|wget|sudo|apt-get upgrade|chmod 777", rest)
            assert not re.search(r"(?i)(password|secret|token)\s*=\s*\S", rest)


def test_everything_is_installed_against_hashes() -> None:
    script = (IMAGES / "install.sh").read_text()
    assert "--require-hashes" in script
    assert "--no-deps" in script
    installs = [
        rest for file in DOCKERFILES for word, rest in instructions(file) if word == "RUN" and "install" in rest
    ]
    assert installs
    assert not [rest for rest in installs if re.search(r"\bpip3? install|npm|apt-get", rest)]


@pytest.mark.parametrize("image", OWN)
def test_list_of_packages_is_what_its_roots_need(image: str) -> None:
    listed = (IMAGES / "packages" / f"{image}.txt").read_text().split()
    assert listed == packages.closure(packages.roots()[image]), "run `python -m infra.images.packages`"
    assert set(listed) <= packages.locked()
    assert not {"pytest", "mypy", "ruff", "playwright", "hypothesis"} & set(listed)


@pytest.mark.parametrize("image", OWN)
def test_image_gets_its_packages_with_the_hashes_of_the_lock(image: str) -> None:
    names = IMAGES / "packages" / f"{image}.txt"
    command = ["awk", "-f", str(IMAGES / "select.awk"), str(names), str(packages.LOCK)]
    selected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", selected, re.MULTILINE)}
    assert found == set(names.read_text().split())
    assert selected.count("==") <= selected.count("--hash=sha256:") + selected.count("python_full_version")
    lock = packages.LOCK.read_text()
    assert all(line in lock for line in selected.splitlines())


@pytest.mark.parametrize("image", OWN)
def test_image_holds_what_its_code_imports(image: str) -> None:
    listed = set((IMAGES / "packages" / f"{image}.txt").read_text().split())
    distributions = packages_distributions()
    for module, importer in sorted(foreign_modules(ENTRIES[image])):
        if module in NEVER[image]:
            continue
        owners = {canonicalize_name(name) for name in distributions.get(module, ())}
        assert owners & listed, f"{importer} imports {module}: add its distribution to infra/images/roots.toml"


@cache
def source_files() -> dict[str, Path]:
    """Our modules by their dotted names."""
    found = {}
    for path in (path for folder in OURS for path in (CHECKOUT / folder).rglob("*.py")):
        parts = path.relative_to(CHECKOUT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def foreign_modules(entries: Iterable[str]) -> set[tuple[str, str]]:
    """(top-level module of a library, our module that imports it), for all that can be reached from the entries."""
    ours, seen, found, todo = source_files(), set[str](), set[tuple[str, str]](), list(entries)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for imported in imports(ours[name]):
            parents = [".".join(imported.split(".")[:size]) for size in range(1, imported.count(".") + 2)]
            todo += [parent for parent in parents if parent in ours]
            if parents[0] not in OURS and parents[0] not in sys.stdlib_module_names:
                found.add((parents[0], name))
    return found


@cache
def imports(file: Path) -> tuple[str, ...]:
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_build_context_holds_nothing_but_the_code() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == {
        "LICENSE", "NOTICE", "requirements.lock", *OURS,
    }  # fmt: skip
