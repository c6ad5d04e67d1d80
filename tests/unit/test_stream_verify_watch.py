"""The part `verify`: what it tells of a check, and that nothing ends it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from catalog.contract import Stream
from catalog.settings import LakeSettings
from stream_jobs.verify import Deviation, Report
from stream_jobs.verify.watch import REGISTRY, Watcher

LOST = Deviation("missing", "bronze.orders", "offsets are not there", 0, 3, ("1-3",))
UNAPPLIED = Deviation("tables", "silver.orders", "is not there")


class Checks:
    """Reports that a round gets, and what was kept of them."""

    def __init__(self) -> None:
        self.next: list[Report] | Exception = []
        self.kept: list[str] = []

    def __call__(self, _: LakeSettings, __: Sequence[Stream], keep: Callable[[Report], bool]) -> list[Report]:
        if isinstance(self.next, Exception):
            raise self.next
        self.kept += [report.stream for report in self.next if keep(report)]
        return self.next


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def watcher(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    monkeypatch.delenv("SLUICE_CONTRACTS", raising=False)
    made = Watcher(LakeSettings.model_construct(contracts=Path(__file__).parents[2] / "catalog" / "contracts"), checks)
    yield made
    checks.next = []  # the registry is the process's: what was told of the stream goes
    made.round()


def metric(name: str) -> float | None:
    lines = [
        line for line in generate_latest(REGISTRY).decode().splitlines() if line.startswith(f'{name}{{stream="orders"')
    ]
    return float(lines[0].rsplit(" ", 1)[1]) if lines else None


def test_deviations_and_accepted_losses_are_metrics(watcher: Watcher, checks: Checks) -> None:
    checks.next = [Report("orders", "quick", deviations=(LOST, LOST), accepted={0: 4}, seconds=0.5)]
    watcher.round()
    assert watcher.document()["state"] == "running"
    assert (metric("sluice_verify_deviations"), metric("sluice_verify_accepted_losses")) == (2, 4)
    checks.next = [Report("orders", "quick", deviations=(UNAPPLIED,))]
    watcher.round()
    assert metric("sluice_verify_deviations") == 0, "a contract that was not applied yet is none"


def test_a_server_that_is_away_is_waited_for_and_the_last_check_ages(watcher: Watcher, checks: Checks) -> None:
    checks.next = [Report("orders", "quick")]
    watcher.round()
    before = metric("sluice_verify_checked_timestamp_seconds")
    checks.next = OSError("no route\nto host")
    watcher.round()
    assert watcher.document() | {"streams": []} == {"state": "waiting", "reason": "no route", "streams": []}
    assert metric("sluice_verify_checked_timestamp_seconds") == before


def test_only_news_goes_to_the_ledger(watcher: Watcher, checks: Checks) -> None:
    for reached in ({0: 5}, {0: 5}, {0: 6}):
        checks.next = [Report("orders", "quick", reached=reached)]
        watcher.round()
    assert len(checks.kept) == 2


def test_a_stream_that_is_checked_no_longer_is_told_no_longer(watcher: Watcher, checks: Checks) -> None:
    checks.next = [Report("orders", "quick")]
    watcher.round()
    checks.next = []
    watcher.round()
    assert metric("sluice_verify_deviations") is None


def test_contracts_that_are_gone_do_not_end_the_watching(watcher: Watcher, tmp_path: Path) -> None:
    contracts, watcher.lake = watcher.lake, LakeSettings.model_construct(contracts=tmp_path / "nowhere")
    watcher.round()
    assert watcher.document()["state"] == "waiting"
    watcher.lake = contracts
