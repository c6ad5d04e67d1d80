"""API keys: what is kept of them, who gets in with which, and that a change counts without a restart."""

import asyncio
import json
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from typer.testing import CliRunner

from catalog.contract import SUFFIX
from catalog.errors import SluiceError
from catalog.settings import BUNDLED_CONTRACTS, LakeSettings
from infra.commands.keys import keys as command
from ingest_gateway.api_keys import ApiKey, KeyRing, changing, is_scope, new_key, read_keys
from ingest_gateway.app import create_app
from ingest_gateway.callers import ANONYMOUS, Caller
from ingest_gateway.settings import GatewaySettings, gateway_settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def now() -> datetime:
    """That of the test: a run may take longer than a key lasts."""
    return datetime.now(UTC)


def add(path: Path, *scopes: str, expires: datetime | None = None) -> tuple[ApiKey, str]:
    """A new key in the file, and its text."""
    key, text = new_key("somebody", scopes, expires)
    with changing(path) as known:
        known.append(key)
    return key, text


def secret_of(text: str) -> str:
    """Without the mark and the id. It may have underscores of its own."""
    return text.split("_", 2)[2]


def test_a_key_is_kept_as_a_hash_and_found_by_its_text(path: Path) -> None:
    key, text = add(path, "submit:orders")
    content = path.read_text()
    assert text.startswith(f"sluice_{key.id}_")
    assert text not in content
    assert secret_of(text) not in content
    assert path.stat().st_mode & 0o077 == 0
    ring = read_keys(path)
    assert ring.find(text) == key
    for wrong in (
        "",
        "x",
        text[:-1],
        text + "x",
        text[:-1] + ("a" if text[-1] != "a" else "b"),
        text.upper(),
        f"{text}\n",
    ):
        assert ring.find(wrong) is None


def test_a_hash_is_of_no_use_in_the_entry_of_another_key(path: Path) -> None:
    weak, text = add(path, "read:orders")
    strong, _ = add(path, "submit:*")
    forged = ApiKey(id=strong.id, name="x", hash=weak.hash, scopes=strong.scopes, created=strong.created)
    secret = text.removeprefix(f"sluice_{weak.id}_")
    assert KeyRing([forged]).find(f"sluice_{strong.id}_{secret}") is None


def test_two_writers_lose_no_key(path: Path) -> None:
    writers = [threading.Thread(target=add, args=(path, "submit:orders")) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(read_keys(path).keys) == 8


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nonsense", "is no file of API keys"),
        ('{"keys": [{"id": "a"}]}', "missing required field"),
        ('{"keys": [{"scopes": ["write:orders"], %s}]}', "scope 'write:orders'"),
        ('{"keys": [{"scopes": [], "expires": "2026-01-01T00:00:00", %s}]}', "without a zone"),
        ('{"keys": [{"scopes": [], %s}, {"scopes": [], %s}]}', "id twice"),
    ],
)
def test_a_broken_file_is_named_with_the_reason(path: Path, content: str, reason: str) -> None:
    path.write_text(content.replace("%s", '"id": "a", "name": "n", "hash": "h", "created": "2026-01-01T00:00:00Z"'))
    with pytest.raises(SluiceError, match=reason) as raised:
        read_keys(path)
    assert str(path) in str(raised.value)


def test_scopes() -> None:
    assert all(map(is_scope, ("submit:orders", "read:iot_*", "submit:*")))
    wrong = (
        "orders",
        "submit:",
        "submit:Orders",
        "submit:*s",
        "submit:a:b",
        "admin:orders",
        "submit:a**",
        "submit:a\n",
    )
    assert not any(map(is_scope, wrong))
    caller = Caller.of("k", frozenset({"submit:orders", "read:iot_*"}))
    assert caller.may("submit", "orders")
    assert caller.may("read", "iot_doors")
    for verb, stream in (("read", "orders"), ("submit", "orders2"), ("submit", "iot_doors"), ("read", "io")):
        assert not caller.may(verb, stream)
    assert Caller.of("k", frozenset({"submit:*"})).may("submit", "whatever")
    assert not ANONYMOUS.may("read", "orders")


class Asked:
    """An application in this process whose callers are asked who they are. Kafka is away: what is let in gets 503."""

    def __init__(self, folder: Path, path: Path | None, **settings: Any) -> None:
        contracts = folder / "contracts"
        contracts.mkdir()
        for name in ("orders", "users"):
            shutil.copy(BUNDLED_CONTRACTS / f"{name}{SUFFIX}", contracts)
        text = (
            (contracts / f"users{SUFFIX}").read_text().replace("customProperties:\n", f"customProperties:\n{OPEN}", 1)
        )
        assert OPEN in text
        (contracts / f"users{SUFFIX}").write_text(text)
        lake = LakeSettings.model_validate({"kafka_bootstrap": "127.0.0.1:1", "contracts": contracts})
        chosen = GatewaySettings.model_validate(
            {"log_level": "error", "keys": path, "authentication": "required", **settings}
        )
        self._app = create_app(chosen, lake)
        self.access = self._app.state.gateway.access
        self._app.state.gateway.streams.poll()

    def __call__(self, method: str, address: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, address, **options)

        return asyncio.run(ask())

    def post(self, stream: str, **headers: str) -> httpx.Response:
        address = f"/v1/streams/{stream}/events"
        return self("POST", address, json={}, headers={name.replace("_", "-"): text for name, text in headers.items()})


OPEN = "      - {property: anonymousSubmission, value: true}\n"


@pytest.fixture
def gate(tmp_path: Path, path: Path) -> Asked:
    return Asked(tmp_path, path)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["type"].removeprefix("urn:sluice:problem:")


def test_who_gets_in(path: Path, gate: Asked) -> None:
    _, writer = add(path, "submit:orders")
    _, reader = add(path, "read:orders")
    _, old = add(path, "submit:orders", expires=now() - timedelta(seconds=1))
    _, soon = add(path, "submit:orders", expires=now() + timedelta(hours=1))
    assert gate.access.poll()
    let_in = (503, "broker-away")
    assert problem(gate.post("orders")) == (401, "no-key")
    assert gate.post("orders").headers["www-authenticate"] == 'Bearer realm="sluice"'
    for headers in (
        {"authorization": f"Bearer {writer}"},
        {"authorization": f"bearer  {writer}"},
        {"x_api_key": writer},
    ):
        assert problem(gate.post("orders", **headers)) == let_in
    assert problem(gate.post("orders", authorization=f"Bearer {soon}")) == let_in
    assert problem(gate.post("orders", authorization=f"Bearer {old}")) == (401, "expired-key")
    assert problem(gate.post("orders", authorization="Bearer nonsense")) == (401, "unknown-key")
    assert problem(gate.post("orders", authorization="Basic dTpw")) == (401, "no-key")
    refused = gate.post("orders", authorization=f"Bearer {reader}")
    assert problem(refused) == (403, "no-scope")
    assert "insufficient_scope" in refused.headers["www-authenticate"]
    # Whether a stream exists is not told to those who may not use it.
    assert problem(gate.post("nothing")) == (401, "no-key")
    assert problem(gate.post("nothing", authorization=f"Bearer {writer}")) == (403, "no-scope")


def test_whose_request_was_refused_is_in_the_log_and_no_secret(
    path: Path, gate: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, text = add(path, "submit:orders")
    old, expired = add(path, "submit:orders", expires=now() - timedelta(seconds=1))
    assert gate.access.poll()
    log = Mock()
    monkeypatch.setattr("ingest_gateway.submit.log", log)
    gate.post("orders", x_api_key=text)  # Kafka is away
    gate.post("users2", x_api_key=text)
    gate.post("orders", authorization=f"Bearer {expired}")
    gate.post("orders", x_api_key=f"sluice_{writer.id}_{secret_of(expired)}")
    gate.post("orders")
    told = [call for call in log.mock_calls if call.args == ("request refused",)]
    assert [(call.kwargs["problem"], call.kwargs["key"]) for call in told] == [
        ("broker-away", writer.id),
        ("no-scope", writer.id),
        ("expired-key", old.id),
        ("unknown-key", None),  # who knows an id alone is somebody else
        ("no-key", None),
    ]
    assert not any(secret in str(log.mock_calls) for secret in map(secret_of, (text, expired)))


def test_anonymous_submission_is_for_streams_whose_contract_allows_it(path: Path, gate: Asked) -> None:
    _, other = add(path, "submit:orders")
    gate.access.poll()
    assert problem(gate.post("users")) == (503, "broker-away")
    assert problem(gate.post("users", authorization=f"Bearer {other}")) == (503, "broker-away")
    assert problem(gate.post("users", authorization="Bearer nonsense")) == (401, "unknown-key")


def test_pages_show_what_a_caller_may_see(path: Path, gate: Asked) -> None:
    _, writer = add(path, "submit:orders")
    _, operator = add(path, "read:*")
    gate.access.poll()
    streams = lambda **headers: [s["name"] for s in gate("GET", "/v1/streams", headers=headers).json()["streams"]]  # noqa: E731
    assert streams() == ["users"]
    assert streams(authorization=f"Bearer {writer}") == ["orders", "users"]
    assert streams(authorization=f"Bearer {operator}") == ["orders", "users"]
    for address, answers in (
        ("/v1/streams/orders", (401, 200, 200)),
        ("/v1/streams/users", (200, 200, 200)),
        ("/v1/streams/nothing", (401, 403, 404)),
        ("/metrics", (401, 403, 200)),
        ("/healthz", (200, 200, 200)),
        ("/readyz", (503, 503, 503)),
    ):
        found = [gate("GET", address, headers=headers) for headers in (
            {}, {"authorization": f"Bearer {writer}"}, {"authorization": f"Bearer {operator}"}
        )]  # fmt: skip
        assert tuple(answer.status_code for answer in found) == answers, address
        assert gate("GET", address, headers={"authorization": "Bearer nonsense"}).status_code == (
            200 if address == "/healthz" else 401
        )
    assert set(gate("GET", "/readyz").json()) == {"status"}
    assert "broker" in gate("GET", "/readyz", headers={"authorization": f"Bearer {operator}"}).json()


def test_a_changed_file_counts_and_a_broken_one_does_not(path: Path, gate: Asked) -> None:
    first, text = add(path, "submit:orders")
    assert problem(gate.post("orders", x_api_key=text)) == (401, "unknown-key")
    assert gate.access.poll()
    assert problem(gate.post("orders", x_api_key=text)) == (503, "broker-away")
    good = path.read_text()
    path.write_text("{")
    assert not gate.access.poll()
    assert problem(gate.post("orders", x_api_key=text)) == (503, "broker-away")
    _, operator = new_key("x", ["read:*"], None)
    assert gate.access.broken
    path.write_text(good)
    assert gate.access.poll()
    assert not gate.access.broken
    with changing(path) as known:
        known.remove(first)
    assert gate.access.poll()
    assert problem(gate.post("orders", x_api_key=text)) == (401, "unknown-key")
    add(path, "submit:orders")
    gate.access.poll()
    path.unlink()  # nobody keeps a right that is written nowhere
    assert gate.access.poll()
    assert problem(gate.post("orders", x_api_key=operator)) == (401, "unknown-key")


def test_nobody_is_asked_by_default_but_a_wrong_key_is_told(tmp_path: Path, path: Path) -> None:
    gate = Asked(tmp_path, path, authentication="off")
    assert problem(gate.post("orders", authorization="Bearer left over")) == (503, "broker-away")
    _, text = add(path, "read:users")
    assert gate.access.poll()
    assert problem(gate.post("orders")) == (503, "broker-away")
    assert problem(gate.post("orders", x_api_key=text)) == (503, "broker-away")
    assert problem(gate.post("orders", x_api_key=text[:-2])) == (401, "unknown-key")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HOST": "0.0.0.0"}, "can be reached from elsewhere, and authentication is off"),
        ({"HOST": "::"}, "allow_unauthenticated=true"),
        ({"HOST": "10.1.2.3"}, "allow_unauthenticated=true"),
        ({"HOST": "gateway.example"}, "allow_unauthenticated=true"),
        ({"AUTHENTICATION": "required"}, "keys must name a file"),
        ({"AUTHENTICATION": "maybe"}, "SLUICE_GATEWAY_AUTHENTICATION='maybe'"),
        ({"HOST": "0.0.0.0", "ALLOW_UNAUTHENTICATED": "true"}, None),
        ({"HOST": "0.0.0.0", "AUTHENTICATION": "required", "KEYS": "keys.json"}, None),
        ({"HOST": "127.0.0.2"}, None),
        ({"HOST": "::1"}, None),
        ({"HOST": "localhost"}, None),
    ],
)
def test_it_serves_others_only_if_they_are_asked_who_they_are(
    settings: dict[str, str], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"SLUICE_GATEWAY_{name}", value)
    if reason is None:
        gateway_settings()
        return
    with pytest.raises(SluiceError, match=reason):
        gateway_settings()


class TestCommand:
    """`sluice keys`."""

    @pytest.fixture(autouse=True)
    def _place(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLUICE_GATEWAY_KEYS", str(path))

    def run(self, *arguments: str) -> str:
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    def test_a_key_is_made_shown_once_listed_and_revoked(self, path: Path) -> None:
        text = self.run(
            "add", "checkout", "-s", "orders", "-s", "us*", "-v", "submit", "-v", "read", "--expires", "90d"
        )
        key = read_keys(path).find(text.strip())
        assert key is not None
        assert key.scopes == ("submit:orders", "read:orders", "submit:us*", "read:us*")
        assert key.expires is not None
        assert timedelta(days=89) < key.expires - now() < timedelta(days=91)
        made = json.loads(self.run("add", "other", "--stream", "*", "--json"))
        assert made["scopes"] == ["submit:*"]
        listed = self.run("list", "--json")
        assert [k["name"] for k in json.loads(listed)] == ["checkout", "other"]
        assert secret_of(made["key"]) not in listed + self.run("list")
        self.run("revoke", key.id)
        assert [k["id"] for k in json.loads(self.run("list", "--json"))] == [made["id"]]
        self.run("revoke", made["id"], "--after", "1h")
        (left,) = read_keys(path).keys
        assert left.expires is not None
        assert left.expires - now() < timedelta(hours=2)

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["add", "x"], "Say for which streams"),
            (["add", "x", "-s", "ordres"], "did you mean orders"),
            (["add", "x", "-s", "Or ders"], "is no stream's name"),
            (["add", "x", "-s", "orders", "--expires", "soon"], "is no time"),
            (["add", "x", "-s", "orders", "--expires", "2020-01-01"], "is over already"),
            (["add", " ", "-s", "orders"], "A key's name"),
            (["revoke", "nope"], "There is no key nope"),
        ],
    )
    def test_mistakes_are_told_in_a_line(self, path: Path, arguments: list[str], reason: str) -> None:
        done = CliRunner().invoke(command, arguments)
        assert isinstance(done.exception, SluiceError)
        assert reason in str(done.exception)
        assert not path.exists()

    def test_without_a_place_it_asks_for_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SLUICE_GATEWAY_KEYS")
        done = CliRunner().invoke(command, ["list"])
        assert "SLUICE_GATEWAY_KEYS" in str(done.exception)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        done = CliRunner().invoke(command, ["add", "x", "-s", "orders"])
        assert "cannot be written" in str(done.exception)
