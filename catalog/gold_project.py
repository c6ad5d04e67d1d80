"""The dbt project under catalog/gold, run inside this process: which models can be built, and what became of them."""

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import SluiceError
from catalog.settings import LakeSettings

PROJECT = Path(__file__).parent / "gold"
DEFAULT_STATE = Path(__file__).parents[1] / ".sluice"
GOOD = {"success", "pass", "warn", "no-op", "skipped", "partial success"}
TELEMETRY_OFF = "DBT_SEND_ANONYMOUS_USAGE_STATS"


@dataclass(frozen=True)
class Node:
    """One model or test after a run. `status` is dbt's word: success, pass, warn, fail, error or skipped."""

    name: str
    kind: str
    status: str
    seconds: float
    message: str = ""

    @property
    def good(self) -> bool:
        return self.status in GOOD


@dataclass(frozen=True)
class Model:
    """A model as SQL; whether its rows are stored, and the silver tables that it reads itself."""

    name: str
    sql: str
    stored: bool
    sources: tuple[str, ...]


@dataclass(frozen=True)
class GoldResult:
    """What a run of the project did, and which streams it left out because silver does not have them."""

    nodes: tuple[Node, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(node.good for node in self.nodes)

    @property
    def failures(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if not node.good)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that were built."""
        return tuple(node.name for node in self.nodes if node.kind == "model" and node.status == "success")

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "absent": list(self.absent), "nodes": [asdict(node) for node in self.nodes]}

    def __add__(self, other: "GoldResult") -> "GoldResult":
        return GoldResult(self.nodes + other.nodes, self.absent)


@dataclass
class GoldProject:
    """The parsed project. Parsing takes seconds and is done once; each run then costs what its SQL costs."""

    settings: LakeSettings
    state: Path = DEFAULT_STATE
    _manifest: Any = field(default=None, repr=False)

    def sources(self) -> set[str]:
        """Names of the silver tables that the project knows."""
        return {source.name for source in self._parsed().sources.values()}

    def watched(self) -> set[str]:
        """Names of the silver tables that incremental models read: when they change, a refresh has work."""
        manifest = self._parsed()
        return {
            manifest.sources[parent].name
            for node in manifest.nodes.values()
            if node.resource_type == "model" and node.config.materialized == "incremental"
            for parent in node.depends_on.nodes
            if parent in manifest.sources
        }

    def stored_over(self, source: str) -> list[str]:
        """Names of the incremental models that read this silver table."""
        manifest = self._parsed()
        return [
            node.name
            for node in manifest.nodes.values()
            if node.resource_type == "model" and node.config.materialized == "incremental"
            and source in {manifest.sources[p].name for p in node.depends_on.nodes if p in manifest.sources}
        ]  # fmt: skip

    def run(
        self,
        command: str,
        *,
        present: Iterable[str],
        select: Iterable[str] = (),
        full: bool = False,
        snapshots: Mapping[str, int] | None = None,
    ) -> GoldResult:
        """`run`, `test` or `build` the selected models (dbt's selectors) of the silver tables that are there.

        `snapshots` fixes the Iceberg snapshots of silver that incremental models and their tests read.
        Raises SluiceError where dbt itself can't go on; a model or test that fails is in the result.
        """
        absent = tuple(sorted(self.sources() - set(present)))
        if absent and len(absent) == len(self.sources()):
            return GoldResult(absent=absent)
        arguments = [command, *self._flags()]
        for option, values in (
            ("--select", list(select)),
            ("--exclude", [f"source:silver.{name}+" for name in absent]),
        ):
            if values:
                arguments += [option, *values]
            # Tests that nobody selected by name are for the runs that test everything.
            arguments += ["--indirect-selection", "empty"] if option == "--select" and command == "build" else []
        if full:
            arguments.append("--full-refresh")
        if snapshots:
            arguments += ["--vars", json.dumps({"snapshots": dict(snapshots)})]
        outcome = self._invoke(arguments, self._parsed())
        return GoldResult(tuple(_node(result) for result in outcome.results), absent)

    def compiled(self, *, present: Iterable[str], snapshots: Mapping[str, int]) -> list[Model]:
        """What each model's rows would be if it were built anew from silver (at these snapshots, where given). Nothing is built."""
        absent = sorted(self.sources() - set(present))
        if len(absent) == len(self.sources()):
            return []
        arguments = ["compile", *self._flags(), "--full-refresh", "--vars", json.dumps({"snapshots": dict(snapshots)})]
        if absent:
            arguments += ["--exclude", *(f"source:silver.{name}+" for name in absent)]
        manifest = self._parsed()
        found = self._invoke(arguments, manifest).results
        return [
            Model(
                result.node.name, str(result.node.compiled_code), result.node.config.materialized == "incremental",
                tuple(manifest.sources[p].name for p in result.node.depends_on.nodes if p in manifest.sources),
            )
            for result in found if str(result.node.resource_type) == "model"
        ]  # fmt: skip

    def _parsed(self) -> Any:
        if self._manifest is None:
            self._manifest = self._invoke(["parse", *self._flags()], None)
        return self._manifest

    def _flags(self) -> list[str]:
        gold = self.state / "gold"
        return ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(gold / "target"),
                "--log-path", str(gold / "log"), "--log-level", "none", "--log-level-file", "warn", "--quiet",
                "--no-write-json", "--cache-selected-only", "--no-version-check"]  # fmt: skip

    def _invoke(self, arguments: list[str], manifest: Any) -> Any:
        with _environment(self.settings), contextlib.redirect_stdout(io.StringIO()) as said:
            # dbt takes a second to import: only those who build gold pay for it.
            from dbt.cli.main import dbtRunner

            logging.getLogger("trino.auth").setLevel(logging.WARNING)
            outcome = dbtRunner(manifest=manifest).invoke(arguments)
        if outcome.result is None:
            reason = " ".join(str(outcome.exception or said.getvalue()).split())
            raise SluiceError(f"dbt could not {arguments[0]} the gold models: {reason}")
        return outcome.result


@contextlib.contextmanager
def _environment(settings: LakeSettings) -> Iterator[None]:
    """What profiles.yml reads, for the time of one call."""
    wanted = {
        "SLUICE_TRINO_URL": settings.trino_url,
        "SLUICE_TRINO_USER": settings.trino_user,
        "SLUICE_TRINO_PASSWORD": settings.trino_password,
        "SLUICE_TRINO_CA": str(settings.trino_ca or ""),
        "SLUICE_CATALOG_NAME": settings.catalog_name,
        TELEMETRY_OFF: "false",
    }
    if settings.trino_ca:  # else what the environment says of other servers would be asked of this one
        wanted["REQUESTS_CA_BUNDLE"] = wanted["CURL_CA_BUNDLE"] = str(settings.trino_ca)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _node(result: Any) -> Node:
    return Node(
        name=result.node.name,
        kind=str(result.node.resource_type),
        status=str(result.status),
        seconds=round(result.execution_time, 3),
        message=" ".join(str(result.message or "").split()),
    )
