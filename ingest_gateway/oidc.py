"""Bearer tokens of an OpenID Connect provider: signed JSON Web Tokens, checked with the keys that the provider publishes."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
import structlog

from ingest_gateway.api_keys import is_scope
from ingest_gateway.callers import Caller, unauthorized
from ingest_gateway.ids import is_event_id
from ingest_gateway.problems import unavailable
from ingest_gateway.settings import GatewaySettings

# Signatures only: with a shared secret (HS…) whoever can check a token could make one, and "none" is no signature.
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)  # fmt: skip
LEEWAY = 30  # seconds that clocks may differ
TIMEOUT = 5.0  # seconds for one question to the provider
MOST_BYTES = 1 << 20  # of the provider's answers
MOST_TOKENS = 1000  # that are remembered as checked
_REASONS = (
    (jwt.ExpiredSignatureError, "has expired"),
    (jwt.ImmatureSignatureError, "is not valid yet"),
    (jwt.InvalidAudienceError, "is for another audience"),
    (jwt.InvalidIssuerError, "is of another issuer"),
    (jwt.InvalidSignatureError, "is not signed by its issuer"),
)
log = structlog.get_logger("sluice.gateway.oidc")


class Issuer:
    """A provider and its keys, which are fetched at the start, now and then, and when a token names one that is not known."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._issuer = settings.oidc_issuer or ""
        self._audience = settings.oidc_audience or ""
        self._jwks_url = settings.oidc_jwks_url
        self._claim = settings.oidc_scope_claim
        self._refresh_after = settings.oidc_refresh
        self._retry_after = settings.oidc_retry
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._checked: dict[str, tuple[Caller, float]] = {}
        self._asked = -float("inf")  # when the provider was asked last
        self._asking: asyncio.Task[None] | None = None
        self.trouble = "its keys were not fetched yet"

    async def caller(self, token: str) -> Caller:
        """Whose token it is. Raises Problem 401, or 503 where the provider's keys were never to be had."""
        if (known := self.known(token)) is not None:
            return known
        try:
            claims = await self._claims(token)
        except jwt.PyJWTError as failure:
            reason = next((text for kind, text in _REASONS if isinstance(failure, kind)), "is no token of the provider")
            raise unauthorized("bad-token", f"The token {reason}") from None
        caller = self._caller(claims)
        if len(self._checked) >= MOST_TOKENS:
            self._checked.clear()
        self._checked[token] = caller, float(claims["exp"]) + LEEWAY
        return caller

    def known(self, token: str) -> Caller | None:
        """Whose token it is, if it was checked already and has not expired."""
        caller, until = self._checked.get(token, (None, 0.0))
        return caller if until > time.time() else None

    async def watch(self) -> None:
        """Fetch the keys for ever: a key that the provider withdrew does not count for longer than a refresh."""
        while True:
            await self._refresh()
            await asyncio.sleep(self._refresh_after if not self.trouble else self._retry_after)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        key = await self._key(header.get("kid"))
        if key is None or key.algorithm_name != header.get("alg"):
            raise jwt.InvalidTokenError
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims

    async def _key(self, kid: object) -> jwt.PyJWK | None:
        found = self._find(kid)
        # Anyone can name a key that does not exist: the provider is not asked more often for that.
        if found is None and (self._asking or time.monotonic() - self._asked >= self._retry_after):
            await self._refresh()
            found = self._find(kid)
        if found is None and not self._keys:
            detail = "The identity provider's keys could not be fetched, so tokens cannot be checked"
            raise unavailable("identity-provider-away", detail, max(1, round(self._retry_after)))
        return found

    def _find(self, kid: object) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None

    async def _refresh(self) -> None:
        """Fetch the keys. Whoever comes meanwhile waits for the same answer."""
        if self._asking is None:
            self._asked = time.monotonic()
            self._asking = asyncio.create_task(self._fetch())
        task = self._asking
        await asyncio.shield(task)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(2 * TIMEOUT), httpx.AsyncClient(timeout=TIMEOUT) as client:
                url = self._jwks_url or await self._discovered(client)
                keys = _usable(await _document(client, url))
        except (httpx.HTTPError, TimeoutError, ValueError) as failure:
            reason = str(failure) or type(failure).__name__
            if reason != self.trouble:
                log.error("the identity provider's keys cannot be fetched; those before stay", reason=reason)
            self.trouble = reason
            return
        finally:
            self._asking = None
        if keys.keys() != self._keys.keys():
            log.info("the identity provider's keys are read", keys=len(keys))
        self._keys, self.trouble = keys, ""
        self._checked.clear()

    async def _discovered(self, client: httpx.AsyncClient) -> str:
        document = await _document(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise ValueError(f"the provider calls itself another issuer than {self._issuer}")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("the provider's configuration names no jwks_uri")
        return url

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        given = claims.get(self._claim)
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        # With a mark, so that no token's subject can pass for an API key's id.
        producer = f"oidc:{claims['sub']}"
        if not is_event_id(producer):
            raise unauthorized("bad-token", "The token's subject cannot be kept as the producer's name")
        return Caller.of(producer, frozenset(word for word in words if isinstance(word, str) and is_scope(word)))


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """A JSON object. Raises httpx.HTTPError or ValueError."""
    async with client.stream("GET", url) as answer:
        answer.raise_for_status()
        content = b""
        async for piece in answer.aiter_bytes():
            content += piece
            if len(content) > MOST_BYTES:
                raise ValueError(f"{url} answers with more than {MOST_BYTES} bytes")
    document = httpx.Response(200, content=content).json()
    if not isinstance(document, dict):
        raise ValueError(f"{url} answers with no JSON object")
    return document


def _usable(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys that may check signatures, by their ids. Raises ValueError where there is none."""
    found = {}
    entries = document.get("keys")
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            continue  # of a kind that is not known here; the provider may have others
        if key.algorithm_name in ALGORITHMS:
            found[str(entry.get("kid", f"#{number}"))] = key
    if not found:
        raise ValueError("the provider publishes no key that can check a signature")
    return found
