"""The capacity plan: its arithmetic, where its figures come from, and that the guide shows what the command prints."""

import subprocess
import sys

import pytest

from infra.capacity import BATCH, SINGLE, STREAM, Figure, Site, one_job_carries, parsed, rows, table
from tests.stack import CHECKOUT


def amounts(site: Site) -> dict[str, str]:
    return {what: much for what, much, _ in rows(site)}


def test_five_terabytes_a_day_by_hand() -> None:
    site = Site()
    assert round(site.mean) == round(5e12 / 86_400 / 1_000) == 57_870
    found = amounts(site)
    assert found["bytes, mean and busiest hour"] == "58 MB/s, 116 MB/s"
    assert found["gateway, single events"] == "26 cores, 13 replicas of 2"  # 115,741 / 13,000 × 2 / 0.7 = 25.4
    assert found["gateway, batches of 100"] == "8 cores, 4 replicas of 2"  # 115.7 / 47.1 MB/s × 2 / 0.7 = 7.02
    assert found["stream jobs for the mean"] == "6"  # 57.87 / (51,300 × 285 B × 0.7) = 5.65
    assert found["Kafka, disk"] == "105 TB"
    assert found["object store, after a year"] == "3,650 TB"


def test_what_asks_for_more_decides() -> None:
    figure = Figure(100, 10, "", "")
    assert figure.times(100, 10, 1) == 1
    assert figure.times(100, 1, 1) == 1, "small events don't come faster than they were measured"
    assert figure.times(100, 40, 0.5) == 8


def test_one_job_carries_what_its_rate_says() -> None:
    assert one_job_carries(Site(load=1)) == pytest.approx(51_300 * 285 * 86_400 / 1e12)


@pytest.mark.parametrize("figure", [SINGLE, BATCH, STREAM], ids=lambda figure: figure.told)
def test_figures_are_those_of_the_guides(figure: Figure) -> None:
    assert figure.told in (CHECKOUT / figure.guide).read_text()
    assert figure.told.startswith(f"{figure.rate:,}")


def test_the_guide_shows_what_the_command_prints() -> None:
    guide = (CHECKOUT / "docs" / "operations.md").read_text()
    assert table(Site()) in guide
    assert "python -m infra.capacity --tb-a-day 5 --event-bytes 1000" in guide
    assert parsed(["--tb-a-day", "5", "--event-bytes", "1000"]) == Site()
    assert parsed(["--tb-a-day", "2.5"]).tb_a_day == 2.5


def test_it_runs_and_refuses_what_makes_no_sense() -> None:
    command = [sys.executable, "-m", "infra.capacity"]
    done = subprocess.run([*command, "--tb-a-day", "1"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == table(Site(tb_a_day=1))
    wrong = subprocess.run([*command, "--load", "0"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (wrong.returncode, "greater than 0" in wrong.stderr) == (2, True)
