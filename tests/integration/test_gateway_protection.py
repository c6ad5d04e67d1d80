"""Who may ask, with a real Kafka and a gateway process of its own."""

import gzip
import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway import LINES, SLOWEST, Gateway, Keys, reading, running_gateway
from tests.identity import AUDIENCE, OTHER_RSA, Provider, token
from tests.stack import Stack, eventually, patient

pytestmark = pytest.mark.stack
ANYONE = "    customProperties:\n      - {property: anonymousSubmission, value: true}\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def gateway(stack: Stack, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    contracts = tmp_path_factory.mktemp("contracts")
    with running_gateway(
        stack, contracts, keys=keys, authentication="required", workers="2", log_level="debug"
    ) as running:
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
    assert {gateway.post(others, reading("a", 1), header).status_code for _ in range(8)} <= {401, 403}
    eventually(
        lambda: gateway.post(others, reading("a", 1), header).status_code == 403, 20, "every worker knows the key"
    )
    assert gateway.records(others) == []


def test_anyone_may_submit_where_the_contract_says_so(gateway: Gateway) -> None:
    stream = gateway.stream("gw_anyone", more=ANYONE)
    assert gateway.post(stream, reading("a", 1)).status_code == 202
    assert {record.headers["ce_producer"] for record in gateway.records(stream)} == {b"anonymous"}


def test_tokens_of_a_provider_count_beside_keys(stack: Stack, tmp_path: Path) -> None:
    provider = Provider()
    contracts = tmp_path / "contracts"
    contracts.mkdir()
    try:
        with running_gateway(
            stack, contracts, Keys(tmp_path / "keys.json"), authentication="required", oidc_issuer=provider.url,
            oidc_audience=AUDIENCE,
        ) as own:  # fmt: skip
            stream = own.stream("gw_oidc")
            good = {"authorization": f"Bearer {token(provider, scope=f'submit:{stream}')}"}
            assert own.post(stream, reading("a", 1), good).status_code == 202
            other = {"authorization": f"Bearer {token(provider, scope='submit:others')}"}
            assert own.post(stream, reading("a", 1), other).status_code == 403
            forged = {"authorization": f"Bearer {token(provider, OTHER_RSA, scope=f'submit:{stream}')}"}
            refused = own.post(stream, reading("a", 1), forged)
            assert (refused.status_code, refused.json()["type"]) == (401, "urn:sluice:problem:bad-token")
            assert {record.headers["ce_producer"] for record in own.records(stream)} == {b"oidc:service-7"}
            assert good["authorization"].removeprefix("Bearer ") not in own.log.read_text()
    finally:
        provider.close()


def test_no_secret_and_no_payload_is_in_the_logs(gateway: Gateway, keys: Keys) -> None:
    stream = gateway.stream("gw_secret", more=ANYONE)
    marks = (f"{word}-{secrets.token_hex(6)}" for word in itertools.cycle(["secret"]))
    sent: list[str] = []

    def mark() -> str:
        sent.append(next(marks))
        return sent[-1]

    key_id, header = keys.add(f"submit:{stream}")
    eventually(
        lambda: all(gateway.post(stream, reading(mark(), 1), header).status_code == 202 for _ in range(8)),
        20,
        "key counts",
    )
    key = header["authorization"].removeprefix("Bearer ")
    sent += [key, key.rpartition("_")[2]]
    form = {"content-type": "application/x-www-form-urlencoded"}
    parts = {"content-type": f"multipart/form-data; boundary={mark()}"}
    event = {"ce-specversion": "1.0", "ce-id": mark(), "ce-source": mark(), "ce-type": mark(), "ce-own": mark()}
    statuses = set()
    for content, headers in (
        (reading(mark(), 1), header | event),
        (reading(mark(), 1), {"x-api-key": key}),
        (b'{"sensor": "%b", "value": "%b"}' % (mark().encode(), mark().encode()), header),
        (b'{"%b": ' % mark().encode(), header),
        (b'[{"%b": 1}, 7' % mark().encode(), header),
        (mark().encode() + b"\n" + reading(mark(), 1), header | LINES),
        (b"sensor=%b&value=%b&%%FF" % (mark().encode(), mark().encode()), header | form),
        (b"--%b" % mark().encode(), header | parts),
        (gzip.compress(mark().encode())[:-3] + mark().encode(), header | {"content-encoding": "gzip"}),
        (b"{}", {"authorization": f"Bearer {mark()}"}),
        (b"{}", {"authorization": f"Bearer sluice_{key_id}_{mark()}"}),
        (b"{}", {"authorization": f"Basic {mark()}", "x-api-key": mark(), "cookie": mark()}),
        (b"{}", header | {"idempotency-key": f"{mark()} x", "prefer": mark(), "content-type": f"text/{mark()}"}),
        (b"{}", header | {"content-encoding": mark()}),
    ):
        statuses.add(gateway.post(stream, content, headers).status_code)
    statuses.add(
        httpx.post(
            f"{gateway.url}/v1/streams/{stream}/events?verdicts={mark()}&key={mark()}", timeout=SLOWEST
        ).status_code
    )
    httpx.get(f"{gateway.url}/v1/streams/{stream}?key={mark()}", headers=header, timeout=SLOWEST)
    httpx.post(f"{gateway.url}/forms/{stream}", data={"sensor": mark(), "value": mark()}, timeout=SLOWEST)
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=SLOWEST) as raw:
        raw.sendall(f"{mark()} {mark()}\r\n\r\n".encode())
        assert raw.recv(1000)
    assert statuses >= {202, 400, 401, 415, 422}
    log = gateway.log.read_text()
    assert "request refused" in log
    assert [word for word in sent if word in log] == []


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
        text=True, timeout=patient(60), check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
