"""Tokens of an identity provider: a real HTTP server publishes keys, real signatures are checked with them."""

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from catalog.errors import SluiceError
from ingest_gateway.access import Access
from ingest_gateway.api_keys import changing, new_key
from ingest_gateway.callers import Caller
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.oidc import Issuer
from ingest_gateway.problems import Problem
from ingest_gateway.settings import GatewaySettings, gateway_settings
from ingest_gateway.streams import Streams
from tests.identity import AUDIENCE, EC_KEY, ED_KEY, OTHER_RSA, RSA_KEY, Provider, published, token
from tests.stack import patient


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.close()


def settings(provider: Provider, **own: Any) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {"oidc_issuer": provider.url, "oidc_audience": AUDIENCE, "authentication": "required", "oidc_retry": 60, **own}
    )


Ask = Callable[[str], Awaitable[Caller]]


def with_issuer(provider: Provider, story: Callable[[Ask], Awaitable[None]], **own: Any) -> None:
    """Run a test inside one event loop with a fresh gateway's view of the provider."""

    async def run() -> None:
        await story(Issuer(settings(provider, **own)).caller)

    asyncio.run(run())


async def insist(ask: Ask, text: str) -> Caller:
    """Ask until the token is taken: the provider is not asked again at once."""
    async with asyncio.timeout(patient(20)):
        while True:
            try:
                return await ask(text)
            except Problem:
                await asyncio.sleep(0.01)


def caller(provider: Provider, text: str, **own: Any) -> Caller:
    async def run() -> Caller:
        return await Issuer(settings(provider, **own)).caller(text)

    return asyncio.run(run())


def refusal(provider: Provider, text: str, **own: Any) -> tuple[int, str, str]:
    with pytest.raises(Problem) as raised:
        caller(provider, text, **own)
    return raised.value.status, raised.value.slug, raised.value.detail


def test_a_good_token_is_a_caller_with_its_scopes(provider: Provider) -> None:
    found = caller(provider, token(provider))
    assert found.producer == b"oidc:service-7"
    assert found.may("submit", "orders")
    assert found.may("read", "users")
    assert not found.may("submit", "users")
    assert caller(provider, token(provider, aud=["others", AUDIENCE])).may("submit", "orders")
    listed = caller(provider, token(provider, scope=None, scp=["submit:iot_*", 7, "nonsense"]), oidc_scope_claim="scp")
    assert listed.scopes == {"submit:iot_*"}
    assert caller(provider, token(provider, scope=None)).scopes == frozenset()


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA_KEY, "RS512"), (RSA_KEY, "PS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")]
)
def test_algorithms_that_sign(provider: Provider, key: Any, algorithm: str) -> None:
    provider.keys = [published("one", key, algorithm)]
    assert caller(provider, token(provider, key, algorithm)).may("submit", "orders")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://evil.example"}, "is of another issuer"),
        ({"aud": "https://other.example"}, "is for another audience"),
        ({"aud": []}, "is no token"),
        ({"exp": int(time.time()) - 60}, "has expired"),
        ({"nbf": int(time.time()) + 86_400}, "is not valid yet"),
        ({"exp": None}, "is no token"),
        ({"aud": None}, "is no token"),
        ({"iss": None}, "is no token"),
        ({"sub": None}, "is no token"),
        ({"exp": "tomorrow"}, "is no token"),
        ({"sub": "a\nb"}, "subject cannot be kept"),
        ({"sub": "x" * 300}, "subject cannot be kept"),
    ],
)
def test_claims_that_are_refused(provider: Provider, claims: dict[str, Any], reason: str) -> None:
    status, slug, detail = refusal(provider, token(provider, **claims))
    assert (status, slug) == (401, "bad-token")
    assert reason in detail


def unsigned(provider: Provider, algorithm: str) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    payload = token(provider).split(".")[1]
    return f"{part({'alg': algorithm, 'kid': 'one', 'typ': 'JWT'})}.{payload}."


def test_signatures_that_are_refused(provider: Provider) -> None:
    good = token(provider)
    head, payload, signature = good.split(".")
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # The provider's public key as a shared secret: the oldest trick.
    confused = jwt.api_jws.PyJWS()._algorithms["HS256"].sign  # PyJWT itself refuses to make such a token
    as_secret = f"{base64.urlsafe_b64encode(json.dumps({'alg': 'HS256', 'kid': 'one'}).encode()).rstrip(b'=').decode()}.{payload}"
    forged = f"{as_secret}.{base64.urlsafe_b64encode(confused(as_secret.encode(), public)).rstrip(b'=').decode()}"
    for text in (
        unsigned(provider, "none"), unsigned(provider, "None"), unsigned(provider, "RS256"), forged,
        token(provider, OTHER_RSA), f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload[:-2]}.{signature}",
        token(provider, RSA_KEY, "RS384"), token(provider, EC_KEY, "ES256"), "nonsense", "", "a.b.c", "." * 3, "é.é.é",
    ):  # fmt: skip
        assert refusal(provider, text)[:2] == (401, "bad-token"), text


def test_a_token_without_a_key_id_counts_where_there_is_one_key(provider: Provider) -> None:
    assert caller(provider, token(provider, kid=None)).may("submit", "orders")
    provider.keys.append(published("two", EC_KEY, "ES256"))
    assert refusal(provider, token(provider, kid=None))[1] == "bad-token"


def test_keys_that_cannot_check_a_signature_are_passed_over(provider: Provider) -> None:
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"}
    provider.keys = [7, {"kty": "strange"}, secret, published("enc", OTHER_RSA, "RS256", use="enc"), *provider.keys]
    assert caller(provider, token(provider)).may("submit", "orders")
    assert refusal(provider, token(provider, OTHER_RSA, kid="enc"))[1] == "bad-token"
    assert (
        refusal(
            provider, jwt.encode({"sub": "x"}, b"secretsecretsecretsecret" * 2, "HS256", headers={"kid": "secret"})
        )[0]
        == 401
    )


def test_the_keys_are_fetched_once_and_again_for_an_unknown_one_but_not_often(provider: Provider) -> None:
    async def story(ask: Ask) -> None:
        await asyncio.gather(*(ask(token(provider, sub=f"s{n}")) for n in range(5)))
        assert provider.times() == 1
        provider.keys.append(published("two", OTHER_RSA, "RS256"))
        for n in range(20):
            with pytest.raises(Problem):
                await ask(token(provider, OTHER_RSA, kid=f"made-up-{n}"))
        assert provider.times() == 1

    with_issuer(provider, story)

    async def rotated(ask: Ask) -> None:
        await ask(token(provider))
        provider.keys = [published("three", EC_KEY, "ES256")]
        assert (await insist(ask, token(provider, EC_KEY, "ES256", kid="three"))).may("submit", "orders")
        # What the provider withdrew counts no longer, although it was checked before.
        with pytest.raises(Problem):
            await ask(token(provider))

    with_issuer(provider, rotated, oidc_retry=0.1)


def test_a_checked_token_is_remembered_until_it_expires(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(ask: Ask) -> None:
        text = token(provider)
        first = await ask(text)
        assert await ask(text) is first
        later = time.time() + 400
        monkeypatch.setattr("ingest_gateway.oidc.time.time", lambda: later)
        with pytest.raises(Problem, match="has expired"):
            await ask(text)

    monkeypatch.setattr("jwt.api_jwt.datetime", _Later)
    with_issuer(provider, story)


class _Later:
    """Stands for `datetime` inside the library, so that its clock follows the test's."""

    @staticmethod
    def now(tz: Any = None) -> Any:
        from datetime import datetime

        return datetime.fromtimestamp(time.time(), tz)


@pytest.mark.parametrize("fault", ["failing", "keys", "issuer"])
def test_while_the_provider_is_away_or_wrong_nobody_can_be_checked(provider: Provider, fault: str) -> None:
    good = token(provider)
    setattr(provider, fault, {"failing": True, "keys": [], "issuer": "https://evil.example"}[fault])
    status, slug, _ = refusal(provider, good)
    assert (status, slug) == (503, "identity-provider-away")


def test_keys_that_were_fetched_outlive_the_provider(provider: Provider) -> None:
    async def story(ask: Ask) -> None:
        await ask(token(provider))
        provider.failing = True
        asked = len(provider.asked)
        while len(provider.asked) == asked:  # until the least time between two questions is over
            with pytest.raises(Problem) as raised:
                await ask(token(provider, OTHER_RSA, kid="new"))
            assert raised.value.status == 401
            await asyncio.sleep(0.01)
        assert (await ask(token(provider, sub="another"))).may("submit", "orders")

    with_issuer(provider, story, oidc_retry=0.1)


def test_keys_and_tokens_stand_side_by_side(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, text = new_key("somebody", ["submit:users"], None)
    with changing(path) as known:
        known.append(key)
    (tmp_path / "contracts").mkdir()
    access = Access(settings(provider, keys=path), Streams(tmp_path / "contracts"))

    async def ask(given: str, stream: str) -> bytes:
        headers = RequestHeaders([(b"authorization", f"Bearer {given}".encode())])
        return (await access.admit(headers, stream)).producer

    async def story() -> None:
        assert await ask(text, "users") == key.id.encode()
        assert await ask(token(provider), "orders") == b"oidc:service-7"
        with pytest.raises(Problem) as raised:
            await ask(token(provider), "users")
        assert raised.value.status == 403
        with pytest.raises(Problem) as raised:
            await ask(text[:-1], "users")
        assert raised.value.slug == "unknown-key"

    asyncio.run(story())
    assert access.troubles() == []


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"OIDC_ISSUER": "https://id.example"}, "oidc_audience must say"),
        ({"OIDC_ISSUER": "http://id.example", "OIDC_AUDIENCE": "x"}, "is no https address"),
        ({"OIDC_ISSUER": "id.example", "OIDC_AUDIENCE": "x"}, "is no https address"),
        ({"OIDC_ISSUER": "http://id.example", "OIDC_AUDIENCE": "x", "OIDC_JWKS_URL": "http://id/keys"}, None),
        ({"OIDC_ISSUER": "https://id.example", "OIDC_AUDIENCE": "x", "AUTHENTICATION": "required"}, None),
    ],
)
def test_settings(chosen: dict[str, str], reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in chosen.items():
        monkeypatch.setenv(f"SLUICE_GATEWAY_{name}", value)
    if reason is None:
        gateway_settings()
        return
    with pytest.raises(SluiceError, match=reason):
        gateway_settings()
