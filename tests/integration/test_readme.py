"""The README's own commands, run as they stand there against the real stack."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from catalog import query
from catalog.settings import LakeSettings
from tests.stack import CHECKOUT, Stack

pytestmark = pytest.mark.stack

README = (CHECKOUT / "README.md").read_text()
BLOCK = re.compile(r"^```sh test\n(.*?)^```", re.MULTILINE | re.DOTALL)
DEFAULT_GATEWAY = "http://127.0.0.1:17001"


@pytest.fixture(scope="module")
def said(stack: Stack, contracts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each section's marked blocks printed, in the README's order, with `bash -e`.

    They run in a folder that looks like the checkout, with the stack's own contracts; the default port is the stack's.
    """
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("sluice", "docs", "infra"):
        (folder / name).symlink_to(CHECKOUT / name)
    (folder / "catalog").mkdir()
    (folder / "catalog" / "contracts").symlink_to(contracts)
    printed = {}
    for section in re.split(r"^## ", README, flags=re.MULTILINE)[1:]:
        blocks = BLOCK.findall(section)
        if blocks:
            printed[section.splitlines()[0]] = "".join(_bash(block, folder, stack) for block in blocks)
    return printed


def _bash(block: str, folder: Path, stack: Stack) -> str:
    script = block.replace(DEFAULT_GATEWAY, stack.env()["SLUICE_GATEWAY_URL"])
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder, env=stack.environ() | {"COLUMNS": "200"}, text=True, capture_output=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_first_order_is_accepted_and_a_rule_sends_one_to_quarantine(
    said: dict[str, str], stack: Stack, lake: LakeSettings
) -> None:
    text = said["Send your own data"]
    receipt, _ = json.JSONDecoder().raw_decode(text)
    assert (receipt["accepted"], receipt["events"][0]["id"]) == (1, "my-first-order")
    assert "exact" in text
    assert "large_orders_need_approval" in text
    rows = query.rows(lake, "select quantity from silver.orders where _event_id = 'my-first-order'")
    assert rows == [{"quantity": 3}]


def test_a_new_stream_is_one_file_and_an_apply(said: dict[str, str], contracts: Path, lake: LakeSettings) -> None:
    example = contracts / "air_quality.odcs.yaml"
    assert "customProperties" not in example.read_text(), "the standard alone must be enough"
    text = said["Add a stream in one file"]
    assert '"accepted":1' in text
    assert "harbour-3" in text
    assert query.rows(lake, "select distinct pm25, pollutant_index from silver.air_quality") == [
        {"pm25": 8.4, "pollutant_index": 35}
    ]


def test_a_kill_loses_and_doubles_nothing(said: dict[str, str], stack: Stack, lake: LakeSettings) -> None:
    assert stack.await_ready("stream")["restarts"] >= 1
    text = said["Prove it"]
    assert text.count("exact") >= 5
    assert "deviations" not in text
    row = query.rows(lake, "select count(*) as n, count(distinct _event_id) as ids from silver.earthquakes")[0]
    assert row["n"] == row["ids"] == 1707
