"""What browsers and logs are told: security headers everywhere, other origins by setting, no secret in any log."""

import asyncio
import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from catalog.errors import SluiceError
from catalog.settings import LakeSettings
from ingest_gateway import logs
from ingest_gateway.app import create_app
from ingest_gateway.settings import GatewaySettings

SHOP = "https://shop.example"


class Client:
    """Asks an application in this process, whose Kafka is away."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        lake = LakeSettings.model_validate({"kafka_bootstrap": "127.0.0.1:1", "contracts": folder})
        self.app = create_app(GatewaySettings.model_validate(settings), lake)
        self.app.state.gateway.streams.poll()

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())


EVERYWHERE = [
    ("GET", "/", 200),
    ("GET", "/v1/streams", 200),
    ("GET", "/v1/streams/orders", 200),
    ("GET", "/forms/orders", 200),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/assets/site.css", 200),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 503),
    ("GET", "/metrics", 200),
    ("GET", "/nowhere", 404),
    ("PUT", "/v1/streams", 405),
    ("GET", "/v1/streams/orders/events", 405),
    ("POST", "/v1/streams/orders/events", 503),
    ("POST", "/v1/streams/nope/events", 404),
]


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize(("method", "path", "status"), EVERYWHERE)
def test_security_headers_are_on_every_answer(folder: Path, method: str, path: str, status: int, accept: str) -> None:
    answer = Client(folder, log_level="error")(method, path, headers={"accept": accept})
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert "cache-control" in answer.headers
    assert all(len(answer.headers.get_list(name)) == 1 for name in ("content-security-policy", "cache-control"))
    assert "access-control-allow-origin" not in answer.headers


def preflight(client: Client, origin: str, header: str = "authorization") -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": header}
    return client("OPTIONS", "/v1/streams/orders/events", headers=asked)


def test_other_origins_are_let_in_by_setting(folder: Path) -> None:
    client = Client(folder, log_level="error", cors_origins=f"{SHOP}, https://other.example:8443")
    allowed = preflight(client, SHOP)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SHOP
    assert "access-control-allow-credentials" not in allowed.headers
    for header in ("idempotency-key", "ce-id", "content-encoding", "x-api-key"):
        assert preflight(client, SHOP, header).status_code == 200
    assert preflight(client, SHOP, "x-strange").status_code == 400
    refused = preflight(client, "https://evil.example")
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert refused.json()["type"] == "urn:sluice:problem:cross-origin"
    assert "origin not allowed" in refused.json()["detail"]
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    assert "access-control-allow-origin" not in refused.headers
    assert "Origin" in refused.headers["vary"]
    assert preflight(client, "http://shop.example").status_code == 400
    for path in ("/v1/streams/orders/events", "/v1/streams/orders"):
        for origin, named in ((SHOP, SHOP), ("https://evil.example", None)):
            method = "POST" if path.endswith("events") else "GET"
            answer = client(method, path, headers={"origin": origin})
            assert answer.headers.get("access-control-allow-origin") == named
            assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Retry-After" in client("POST", path, headers={"origin": SHOP}).headers["access-control-expose-headers"]
    everyone = Client(folder, log_level="error", cors_origins="*")
    assert everyone("GET", "/v1/streams", headers={"origin": SHOP}).headers["access-control-allow-origin"] == "*"
    assert preflight(Client(folder, log_level="error"), SHOP).status_code == 405


@pytest.mark.parametrize(
    "origins", ["shop.example", "https://shop.example/path", "ftp://x", "https://*.example", "null"]
)
def test_what_is_no_origin_is_named(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest_gateway.settings import gateway_settings

    monkeypatch.setenv("SLUICE_GATEWAY_CORS_ORIGINS", origins)
    with pytest.raises(SluiceError, match="is no origin"):
        gateway_settings()


SECRET = "a-payload-of-somebody"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What was logged since it was asked last, as one JSON object a line."""
    text = StringIO()
    monkeypatch.setattr("ingest_gateway.logs.sys.stderr", text)
    logs.configure("debug")

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in text.getvalue().splitlines()]
        text.seek(0)
        text.truncate()
        return found

    yield lines
    logging.getLogger().handlers.clear()


def _fail() -> None:
    try:
        int(SECRET)
    except ValueError as failure:
        raise KeyError(SECRET) from failure


def test_a_failure_is_logged_by_its_places_and_not_by_what_it_quotes(logged: Any) -> None:
    for tell in (structlog.get_logger("test").exception, logging.getLogger("library").exception):
        try:
            _fail()
        except KeyError:
            tell("it failed")
        (line,) = logged()
        assert line["event"] == "it failed"
        assert SECRET not in json.dumps(line)
        assert "builtins.ValueError\nthen:\n" in line["exception"]
        assert line["exception"].endswith("builtins.KeyError")
        assert "in _fail" in line["exception"]
    try:
        raise ConnectionError("the broker said no")
    except ConnectionError:
        structlog.get_logger("test").exception("it failed")
    assert logged()[0]["exception"].endswith("builtins.ConnectionError: the broker said no")


@pytest.mark.parametrize("path", ["/v1/streams/orders/events", "/v1/streams"])
def test_an_unexpected_failure_is_a_problem_and_says_nothing_of_what_was_sent(
    folder: Path, path: str, monkeypatch: pytest.MonkeyPatch, logged: Any
) -> None:
    client = Client(folder, log_level="debug")
    monkeypatch.setattr(type(client.app.state.gateway), "require_room", lambda self: _fail())
    monkeypatch.setattr(type(client.app.state.gateway.access), "sees", lambda *_: _fail())
    answer = client("POST" if path.endswith("events") else "GET", path, headers={"authorization": f"Bearer {SECRET}"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["type"] == "urn:sluice:problem:internal"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert SECRET not in answer.text + json.dumps(logged())
