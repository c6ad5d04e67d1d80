"""Who may ask, with a real Kafka and a gateway process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import Gateway, Keys, reading, running_gateway
from tests.stack import Stack, eventually

pytestmark = pytest.mark.stack
ANYONE = "    customProperties:\n      - {property: anonymousSubmission, value: true}\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def gateway(stack: Stack, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    contracts = tmp_path_factory.mktemp("contracts")
    with running_gateway(stack, contracts, keys=keys, authentication="required", workers="2") as running:
        yield running


def test_keys_come_and_go_without_a_restart_and_name_the_producer(gateway: Gateway, keys: Keys) -> None:
    stream = gateway.stream("gw_keys")
    assert gateway.post(stream, reading("a", 1)).status_code == 401
    key_id, header = keys.add(f"submit:{stream}")
    eventually(lambda: gateway.post(stream, reading("a", 1), header).status_code == 202, 20, "key counts")
    other_id, other = keys.add("submit:gw_*")
    eventually(lambda: all(gateway.post(stream, reading("a", 1), other).status_code == 202 for _ in range(4)), 20)
    keys.revoke(key_id)
    eventually(lambda: {gateway.post(stream, b"{}", header).status_code for _ in range(8)} == {401}, 20, "key is gone")
    producers = {record.headers["ce_producer"] for record in gateway.records(stream)}
    assert producers == {key_id.encode(), other_id.encode()}
    # A sender cannot choose under which name it is kept.
    spoof = {"ce-specversion": "1.0", "ce-id": "x", "ce-source": "/s", "ce-type": "t", "ce-producer": "boss"}
    assert gateway.post(stream, reading("a", 1), other | spoof).status_code == 400


def test_scopes_are_kept(gateway: Gateway, keys: Keys) -> None:
    mine, others = gateway.stream("gw_mine"), gateway.stream("gw_others")
    _, header = keys.add(f"submit:{mine}")
    eventually(lambda: gateway.post(mine, reading("a", 1), header).status_code == 202, 20, "key counts")
    assert gateway.post(others, reading("a", 1), header).status_code == 403
    assert gateway.records(others) == []


def test_anyone_may_submit_where_the_contract_says_so(gateway: Gateway) -> None:
    stream = gateway.stream("gw_anyone", more=ANYONE)
    assert gateway.post(stream, reading("a", 1)).status_code == 202
    assert {record.headers["ce_producer"] for record in gateway.records(stream)} == {b"anonymous"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HOST": "0.0.0.0"}, "authentication is off"),
        ({"AUTHENTICATION": "required", "KEYS": "{broken}"}, "is no file of API keys"),
    ],
)
def test_a_start_that_would_let_anybody_in_ends_in_one_line(
    stack: Stack, tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"keys": [{}]}))
    own = {f"SLUICE_GATEWAY_{name}": value.format(broken=broken) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "ingest_gateway"], env={**os.environ, **stack.env(), **own}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
