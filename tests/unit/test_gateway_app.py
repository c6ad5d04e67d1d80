"""The application while Kafka is away: it serves what needs no broker, says so, and takes no event."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from catalog.contract import SUFFIX
from catalog.errors import SluiceError
from catalog.settings import LakeSettings, read_settings
from ingest_gateway.app import create_app
from ingest_gateway.settings import GatewaySettings, gateway_settings
from ingest_gateway.streams import Streams

NO_BROKER = "127.0.0.1:1"


class Client:
    """Asks an application in this process, made and started for each question."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        lake = LakeSettings.model_validate({"kafka_bootstrap": NO_BROKER, "contracts": folder})
        self.make: Callable[[], Starlette] = partial(create_app, GatewaySettings(log_level="error", **settings), lake)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            app = self.make()
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
            ):
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(folder: Path) -> Client:
    return Client(folder)


def test_it_starts_without_a_broker_and_says_so(client: Client) -> None:
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "unready"
    assert NO_BROKER in ready.json()["reasons"][0]
    assert "sluice_gateway_broker_up 0.0" in client.get("/metrics").text


def test_events_are_answered_with_a_problem_and_a_time_to_come_back(client: Client) -> None:
    answer = client.post("/v1/streams/orders/events", json={}, headers={"x-request-id": "mine"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine"
    assert answer.json()["type"] == "urn:sluice:problem:broker-away"


def test_whole_request_errors_are_problems(client: Client) -> None:
    unknown = client.post("/v1/streams/ordres/events", json={})
    assert (unknown.status_code, unknown.json()["nearest"]) == (404, "orders")
    assert client.get("/v1/streams/nothing_alike").json()["nearest"] is None
    for method, path, status in (
        ("GET", "/v1/streams/orders/events", 405),
        ("PUT", "/v1/streams", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/streams/nope", 404),
    ):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status


def test_streams_are_listed_for_programs_and_people(client: Client) -> None:
    assert [s["name"] for s in client.get("/v1/streams").json()["streams"]] == ["orders"]
    assert [s["name"] for s in client.get("/").json()["streams"]] == ["orders"]
    page = client.get("/", headers={"accept": "text/html"})
    assert "/forms/orders" in page.text
    facts = client.get("/v1/streams/orders").json()
    assert facts["key"] == ["order_id"]
    assert facts["schema"]["properties"]["order_id"]["format"] == "uuid"


def test_contracts_are_reloaded_and_a_broken_one_keeps_the_old_one_serving(folder: Path) -> None:
    streams = Streams(folder)
    assert streams.poll()
    assert not streams.poll()
    before = streams.served["orders"]
    good = (folder / f"orders{SUFFIX}").read_text()

    (folder / f"orders{SUFFIX}").write_text("apiVersion: nonsense")
    (folder / f"more{SUFFIX}").write_text(good)
    assert streams.poll()
    assert streams.served["orders"] is before
    assert set(streams.broken) == {"orders"}
    assert "more" in streams.served

    (folder / f"orders{SUFFIX}").write_text(good.replace("version: 1.0.0", "version: 1.1.0"))
    (folder / f"more{SUFFIX}").unlink()
    assert streams.poll()
    assert streams.served["orders"].stream.version == "1.1.0"
    assert not streams.broken
    assert set(streams.served) == {"orders"}


def test_a_stream_whose_only_contract_is_broken_is_unavailable_not_unknown(folder: Path) -> None:
    (folder / f"bad{SUFFIX}").write_text("apiVersion: nonsense")
    client = Client(folder)
    answer = client.post("/v1/streams/bad/events", json={})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:sluice:problem:contract-broken")
    assert "bad" in client.get("/readyz").json()["contracts"]["broken"]


def test_settings_that_cannot_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_GATEWAY_PORT", "http")
    with pytest.raises(SluiceError, match="SLUICE_GATEWAY_PORT='http'"):
        gateway_settings()
    monkeypatch.setenv("SLUICE_GATEWAY_PORT", "8000")
    monkeypatch.setenv("SLUICE_GATEWAY_MAX_IN_FLIGHT_BYTES", "2000")
    with pytest.raises(SluiceError, match="max_in_flight_bytes"):
        read_settings(GatewaySettings)


def test_a_missing_contract_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="SLUICE_CONTRACTS"):
        create_app(GatewaySettings(log_level="error"), LakeSettings.model_validate({"contracts": tmp_path / "none"}))


ORDER = {
    "order_id": "0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42",
    "product_id": "WHEY001",
    "quantity": 3,
    "timestamp": "2026-05-05T12:13:14Z",
}
LINES = b"%s\n%s\n" % (json.dumps(ORDER).encode(), json.dumps({**ORDER, "quantity": "x"}).encode())


def test_with_a_spool_events_are_taken_without_a_broker(folder: Path, tmp_path: Path) -> None:
    client = Client(folder, spool=tmp_path / "spool")
    single = client.post("/v1/streams/orders/events", json=ORDER, headers={"idempotency-key": "one"})
    assert single.status_code == 202
    assert single.json() == {
        "stream": "orders", "accepted": 1, "refused": 0, "spooled": 1, "events": [{"id": "one", "status": "spooled"}]
    }  # fmt: skip
    lines = {"content-type": "application/x-ndjson"}
    mixed = client.post("/v1/streams/orders/events?verdicts=summary", content=LINES, headers=lines)
    assert (mixed.status_code, mixed.json()) == (207, {"stream": "orders", "accepted": 1, "refused": 1, "spooled": 1})
    nothing = client.post("/v1/streams/orders/events", content=b"[]")
    assert (nothing.status_code, nothing.json()["events"]) == (202, [])
    assert "spooled" not in nothing.json()
    metrics = client.get("/metrics").text
    assert "sluice_gateway_spool_events 2.0" in metrics
    ages = [line for line in metrics.splitlines() if line.startswith("sluice_gateway_spool_oldest_age_seconds ")]
    assert 0 < float(ages[0].split()[1]) < 3600


def test_readiness_tells_what_waits_in_the_spool(folder: Path, tmp_path: Path) -> None:
    assert Client(folder).get("/readyz").json()["spool"] == {"state": "off"}
    client = Client(folder, spool=tmp_path / "spool")
    client.post("/v1/streams/orders/events", json=ORDER)
    spool = client.get("/readyz").json()["spool"]
    assert (spool["state"], spool["events"], spool["limit_bytes"]) == ("holding", 1, 1 << 30)
    assert spool["bytes"] == sum(path.stat().st_size for path in (tmp_path / "spool").rglob("*.spool"))
    assert spool["streams"]["orders"]["events"] == 1


def test_a_full_spool_is_a_problem(folder: Path, tmp_path: Path) -> None:
    client = Client(folder, spool=tmp_path / "spool", spool_bytes=1 << 17, max_body_bytes=1 << 16)
    orders = b"\n".join([json.dumps(ORDER).encode()] * 400)
    lines = {"content-type": "application/x-ndjson"}
    assert client.post("/v1/streams/orders/events", content=orders, headers=lines).status_code == 202
    full = client.post("/v1/streams/orders/events", content=orders, headers=lines)
    assert (full.status_code, full.json()["type"]) == (503, "urn:sluice:problem:spool-full")
    assert full.headers["retry-after"] == "1"
    assert "Kafka is away" in full.json()["detail"]


def test_a_spool_that_could_not_hold_a_body_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_GATEWAY_SPOOL", "")
    assert gateway_settings().spool is None
    monkeypatch.setenv("SLUICE_GATEWAY_SPOOL", "spool")
    monkeypatch.setenv("SLUICE_GATEWAY_SPOOL_BYTES", "20000000")
    assert gateway_settings().spool == Path("spool")
    monkeypatch.setenv("SLUICE_GATEWAY_WORKERS", "2")
    with pytest.raises(SluiceError, match="spool_bytes"):
        gateway_settings()
