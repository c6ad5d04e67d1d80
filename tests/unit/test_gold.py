"""The gold project without a server: it parses, says what everything is, and leaves out what silver does not have."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from unittest.mock import Mock

import pytest

from catalog import gold_metrics, gold_refresh
from catalog.errors import SluiceError
from catalog.gold_project import PROJECT, GoldProject, GoldResult, Node
from catalog.gold_refresh import GoldSettings, Refresher, keep_fresh
from catalog.odcs import load_contracts
from catalog.settings import BUNDLED_CONTRACTS, LakeSettings, read_settings
from tests.stack import eventually
from ui.tables import gold_models

MODELS = {path.stem: path for path in PROJECT.joinpath("models").rglob("*.sql")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> GoldProject:
    return GoldProject(
        read_settings(LakeSettings).model_copy(update={"trino_url": "http://127.0.0.1:1"}),
        tmp_path_factory.mktemp("state"),
    )


def test_the_project_parses_and_writes_nothing_into_the_checkout(project: GoldProject) -> None:
    assert project.sources() == {"wildlife_strikes", "earthquakes", "orders", "users"}
    assert not PROJECT.joinpath("target").exists()
    assert not PROJECT.joinpath("logs").exists()


def test_only_streams_of_incremental_models_are_watched(project: GoldProject) -> None:
    assert project.watched() == {"orders"}


def test_every_stream_of_the_demo_has_a_model(project: GoldProject) -> None:
    assert project.sources() <= set(load_contracts(BUNDLED_CONTRACTS))
    assert {path.parent.name for path in MODELS.values()} == project.sources()


def test_nothing_is_run_when_silver_has_none_of_the_streams(project: GoldProject) -> None:
    # No server listens at the project's address: asking it anything would fail.
    result = project.run("run", present={"something_else"})
    assert result.ok
    assert not result.nodes
    assert set(result.absent) == project.sources()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_and_column_is_described(name: str) -> None:
    model = gold_models()[name]
    assert model["description"].strip()
    described = [column["name"] for column in model["columns"]]
    assert all(column.get("description") for column in model["columns"])
    assert len(described) == len(set(described))


def test_a_result_names_what_failed() -> None:
    result = GoldResult((Node("a", "model", "success", 0.1), Node("b", "test", "fail", 0.1, "Got 1 result")))
    assert not result.ok
    assert [node.name for node in result.failures] == ["b"]
    assert result.models == ("a",)


def test_the_interval_must_make_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_GOLD_INTERVAL", "0")
    with pytest.raises(SluiceError, match="SLUICE_GOLD_INTERVAL"):
        read_settings(GoldSettings)


def test_no_model_joins() -> None:
    for path in MODELS.values():
        assert " join " not in path.read_text().lower()


def sample(name: str, **labels: str) -> float | None:
    return gold_metrics.REGISTRY.get_sample_value(name, labels)


def test_what_failed_is_told_until_it_is_mended() -> None:
    bad = GoldResult((Node("revenue", "model", "error", 1.0), Node("unique", "test", "fail", 1.0)))
    gold_metrics.done("refreshed", bad, 2.0)
    gold_metrics.done("tested", bad, 2.0)
    gold_metrics.done("built", GoldResult((Node("revenue", "model", "success", 1.0),)), 2.0)
    assert sample("sluice_gold_failed_nodes", work="refreshed") == 0  # all was built anew
    assert sample("sluice_gold_failed_nodes", work="tested") == 2
    gold_metrics.done("tested", GoldResult(), 2.0)
    assert sample("sluice_gold_failed_nodes", work="tested") == 0


class Silver:
    """What a refresher sees and does, without Trino and dbt: `now` are silver's snapshots, `broken` what fails to build."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.now = {"orders": 0}
        self.broken = False
        self.tests: list[float] = []  # when they ran
        self.passed = True
        self.clock = 0.0
        patched.setattr(gold_refresh, "silver_tables", lambda _: {"orders"})
        patched.setattr(gold_refresh, "snapshots", lambda *_: dict(self.now))
        patched.setattr(gold_refresh, "build", lambda *_, **__: self.result("error") if self.broken else GoldResult())
        patched.setattr(gold_refresh, "refresh", lambda *_: GoldResult())
        project = Mock(sources=lambda: {"orders"}, watched=lambda: {"orders"}, run=self.test)
        pace = read_settings(GoldSettings)
        assert pace.gold_test_interval == 3600
        self.refresher = Refresher(read_settings(LakeSettings), pace, project, lambda: self.clock)

    def result(self, status: str) -> GoldResult:
        return GoldResult((Node("revenue", "model", status, 1.0),))

    def test(self, *_: object, **__: object) -> GoldResult:
        self.tests.append(self.clock)
        self.clock += 60
        return GoldResult() if self.passed else self.result("fail")


def test_a_lake_that_changes_all_the_time_is_tested_too(monkeypatch: pytest.MonkeyPatch) -> None:
    silver = Silver(monkeypatch)
    for commit in range(300):
        silver.now = {"orders": commit}
        silver.refresher.round()
        silver.clock += 30
    assert len(silver.tests) == 3
    assert all(later - earlier >= 3600 for earlier, later in pairwise(silver.tests))


def test_what_is_not_built_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    silver = Silver(monkeypatch)
    silver.broken = True
    silver.refresher.round()
    assert not silver.tests
    silver.broken = False
    silver.refresher.round()
    assert len(silver.tests) == 1


def test_when_gold_was_tested_is_told_whatever_came_out(monkeypatch: pytest.MonkeyPatch) -> None:
    gold_metrics.done("built", GoldResult(), 1.0)
    gold_metrics.TESTED.set(0)
    silver = Silver(monkeypatch)
    silver.passed = False
    began = time.time()
    silver.refresher.round()
    assert (sample("sluice_gold_tested_timestamp_seconds") or 0) >= began
    assert sample("sluice_gold_failed_nodes", work="tested") == 1
    assert (sample("sluice_gold_checked_timestamp_seconds") or 0) >= began


def test_trino_being_away_is_told_and_gold_ages(project: GoldProject) -> None:
    away = read_settings(LakeSettings).model_copy(update={"trino_url": "http://127.0.0.1:1"})
    refresher = Refresher(away, read_settings(GoldSettings), project)
    before = sample("sluice_gold_checked_timestamp_seconds")
    gold_metrics.TRINO_UP.set(1)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        looping = pool.submit(keep_fresh, refresher, stop)
        eventually(lambda: refresher.health["state"] == "waiting", 10, "gold waits for Trino")
        stop.set()
        looping.result()
    assert sample("sluice_gold_trino_up") == 0
    assert sample("sluice_gold_checked_timestamp_seconds") == before
