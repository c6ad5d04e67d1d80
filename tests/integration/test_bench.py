"""`sluice bench` on a real stack, shortly: every figure and every aim is there, and no event is missing."""

import json
from pathlib import Path

import pytest

from tests.stack import Stack

pytestmark = pytest.mark.stack


def test_the_gateway_is_measured_beside_the_others(stack: Stack, tmp_path: Path) -> None:
    brief = ["--repetitions", "1", "--run-seconds", "0.5", "--output", str(tmp_path / "bench.json")]
    found = json.loads(stack.sluice("bench", "gateway", "--json", *brief))["gateway"]
    assert json.loads((tmp_path / "bench.json").read_text())["gateway"] == found
    assert set(found["singles"]) == {"echo", "plain", "sluice"}
    assert set(found["batches"]) == {"producer", "plain", "tuned", "sluice"}
    assert all(figures["events_per_s"] > 0 for shape in ("singles", "batches") for figures in found[shape].values())
    assert 0 < found["acknowledged"] <= found["in_topic"]
    assert len(found["aims"]) == 11


@pytest.mark.long
def test_the_stream_is_measured(stack: Stack, tmp_path: Path) -> None:
    brief = ["--parts", "steady,catchup,growth", "--minutes", "0.2", "--rate", "60", "--records", "50000"]
    found = json.loads(
        stack.sluice("bench", "stream", "--json", *brief, "--output", str(tmp_path / "bench.json"), limit=900)
    )
    measured = found["stream"]
    assert measured["steady"]["freshness"]["unseen"] == 0
    assert measured["steady"]["lag_records"]["end"] == 0
    assert measured["catchup"]["ratio"] > 0
    assert all(measured["growth"][kind]["ratio"] > 0 for kind in ("events", "entities"))
    assert {one["reached"] for one in measured["aims"]} <= {True, False, None}
