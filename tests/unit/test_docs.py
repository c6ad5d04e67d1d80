"""The documentation says what is true: links lead somewhere, commands and options exist, settings and metrics are all there."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings
from typer.core import TyperGroup

from catalog.gold_refresh import GoldSettings
from catalog.maintenance.settings import MaintenanceSettings
from catalog.settings import LakeSettings
from infra import cli
from infra.access.accounts import AdminSettings
from infra.native.config import MEMORY, PORT_NAMES
from ingest_gateway.settings import GatewaySettings
from stream_jobs.settings import StreamSettings
from stream_jobs.verify.settings import VerifySettings
from tests.stack import CHECKOUT

CODE = ("catalog", "ingest_gateway", "stream_jobs", "ui", "infra")
DOCS = sorted(
    path
    for folder, pattern in ((".", "*.md"), ("docs", "**/*.md"), ("infra", "**/*.md"), ("ui", "**/*.md"))
    for path in (CHECKOUT / folder).glob(pattern)
)
GUIDES = [path for path in DOCS if path.name != "CHANGELOG.md" and "decisions" not in path.parts]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"SLUICE_[A-Z0-9_]*")
# In pieces, so that no file of the project, this one included, holds such a name.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("maven", "org"), ("maven", "apache", "org"), ("golang", "org"),
        ("npmjs", "org"), ("docker", "io"), ("ghcr", "io"), ("quay", "io"), ("crates", "io"),
    )
]  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:root|home|Users|work|tmp)(?:/|\b)")


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def anchors(text: str) -> set[str]:
    """The fragments that headings of a Markdown file get."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(FENCED.sub("", path.read_text())):
        if re.match(r"\w+:", target):
            continue
        file, _, fragment = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{target} leads nowhere"
        if fragment:
            assert fragment in anchors(found.read_text()), f"{target}: no such heading"


def test_every_guide_can_be_reached_from_the_readme() -> None:
    text = (CHECKOUT / "README.md").read_text()
    linked = {(CHECKOUT / target.partition("#")[0]).resolve() for target in LINK.findall(text) if "://" not in target}
    missing = [name_of(path) for path in (CHECKOUT / "docs").glob("*.md") if path.resolve() not in linked]
    assert not missing
    index = (CHECKOUT / "docs/decisions/README.md").read_text()
    assert not [path.name for path in (CHECKOUT / "docs/decisions").glob("0*.md") if f"({path.name})" not in index]


def sluice_lines(text: str) -> Iterator[list[str]]:
    """Arguments of each `./sluice …` in the fenced blocks of a Markdown file."""
    for language, block in FENCED.findall(text):
        if language not in ("", "sh"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            for piece in re.findall(r"\./sluice ((?:'[^']*'|\"(?:\\.|[^\"])*\"|[^|>#()'\"])*)", line):
                yield shlex.split(piece)


CALLS = [(name_of(path), arguments) for path in DOCS for arguments in sluice_lines(path.read_text())]


def test_there_are_commands_to_check() -> None:
    assert {arguments[0] for _, arguments in CALLS} >= {"up", "test", "send", "apply", "verify", "sql"}


@pytest.mark.parametrize(
    ("where", "arguments"), CALLS, ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60]
)
def test_command_lines_name_commands_and_options_that_exist(
    where: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    name, *rest = arguments
    monkeypatch.setattr("sys.argv", ["sluice", name])
    monkeypatch.setattr(cli, "_adopt_stack", lambda: None)
    group: Any = typer.main.get_command(cli.app)
    command = group.get_command(typer.Context(group), name)
    assert command is not None, f"{where}: there is no command {name}"
    if isinstance(command, TyperGroup):
        inner, *rest = rest
        found = command.get_command(typer.Context(command), inner)
        assert found is not None, f"{where}: {name} has no command {inner}"
        name, command = f"{name} {inner}", found
    # Names of options and the number of arguments are checked; values may be placeholders.
    _, left, _ = command.make_parser(typer.Context(command, info_name=name)).parse_args(list(rest))
    assert not left, f"{where}: {name} takes no {left}"


def fields(kind: type[BaseSettings]) -> set[str]:
    prefix = str(kind.model_config.get("env_prefix", ""))
    return {f"{prefix}{field}".upper() for field in kind.model_fields}


@cache
def code() -> str:
    files = [path for folder in CODE for path in (CHECKOUT / folder).rglob("*.py")]
    return "\n".join(path.read_text() for path in [*files, *(CHECKOUT / "tests").glob("*.py"), CHECKOUT / "sluice"])


@cache
def known_settings() -> set[str]:
    """Every variable that code reads: fields of settings classes, names that are put together, and what is written out."""
    classes: tuple[type[BaseSettings], ...] = (
        LakeSettings,
        GatewaySettings,
        StreamSettings,
        GoldSettings,
        VerifySettings,
        AdminSettings,
        MaintenanceSettings,
    )
    built = {f"SLUICE_PORT_{name.upper()}" for name in PORT_NAMES} | {
        f"SLUICE_MEMORY_{part.upper()}" for part in MEMORY
    }
    return built.union(SETTING.findall(code()), *map(fields, classes))


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_settings_that_are_named_exist(path: Path) -> None:
    for name in SETTING.findall(path.read_text()):
        if name.endswith("_"):  # a family: `SLUICE_GATEWAY_…`
            assert any(known.startswith(name) for known in known_settings()), name
        else:
            assert name in known_settings(), name


@pytest.mark.parametrize(
    "kind",
    [LakeSettings, StreamSettings, GoldSettings, VerifySettings, MaintenanceSettings, AdminSettings],
    ids=lambda kind: kind.__name__,
)
def test_every_setting_is_documented(kind: type[BaseSettings]) -> None:
    text = "\n".join(path.read_text() for path in GUIDES)
    assert not [name for name in sorted(fields(kind)) if not re.search(rf"\b{name}\b", text)]


def test_every_setting_of_the_gateway_is_in_its_table() -> None:
    table = (CHECKOUT / "docs/gateway.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?!SLUICE_)[A-Z_]+)`", table)) == {name.upper() for name in GatewaySettings.model_fields}


@pytest.mark.parametrize(
    "name", [*(f"SLUICE_PORT_{n.upper()}" for n in PORT_NAMES), *(f"SLUICE_MEMORY_{p.upper()}" for p in MEMORY)]
)
def test_ports_and_memory_are_documented(name: str) -> None:
    assert f"`{name}`" in (CHECKOUT / "docs/native.md").read_text()


def test_metrics_in_code_and_docs_are_the_same() -> None:
    made = set(re.findall(r"(?:Counter|Gauge|Histogram|GaugeMetricFamily)\(\s*\"(sluice_\w+)\"", code()))
    told = {
        name
        for path in GUIDES
        for name in re.findall(
            r"`(sluice_(?:gateway|stream|maintenance|verify|gold|disk|certificate)_\w+)`", path.read_text()
        )
    }
    assert made
    assert told == made


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_no_registry_and_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text()
    assert not [host for host in REGISTRIES if host in text]
    assert not MACHINE_PATH.search(text)


def test_pictures_are_small() -> None:
    pictures = list((CHECKOUT / "docs/images").iterdir())
    assert pictures
    assert not [picture.name for picture in pictures if picture.stat().st_size >= 250_000]
