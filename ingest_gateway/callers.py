"""Who asks, and what they may: API keys and tokens to callers, callers and streams to a yes or a 401 or 403."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from catalog.errors import SluiceError
from ingest_gateway.api_keys import VERBS, KeyRing, read_keys
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.problems import Problem
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.streams import Fingerprint, Streams

REALM = 'Bearer realm="sluice"'
log = structlog.get_logger("sluice.gateway.callers")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks. `producer` is the name under which bronze keeps what they send; `scopes` what they may."""

    producer: bytes
    scopes: frozenset[str] = frozenset()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, producer: str, scopes: frozenset[str]) -> "Caller":
        """A caller with scopes like `submit:orders`, `read:iot_*` or `submit:*`."""
        return cls(producer.encode(), scopes, tuple(scope[:-1] for scope in scopes if scope.endswith("*")))

    def may(self, verb: str, stream: str) -> bool:
        """Whether they may submit to a stream, or read its contract."""
        scope = f"{verb}:{stream}"
        return scope in self.scopes or any(scope.startswith(beginning) for beginning in self.beginnings)


ANONYMOUS = Caller(b"anonymous")


@dataclass(frozen=True, slots=True)
class _Known:
    """The keys of one moment, each with its caller; replaced as a whole."""

    ring: KeyRing = field(default_factory=KeyRing)
    callers: Mapping[str, Caller] = field(default_factory=dict)


class Access:
    """The gate. While nothing is asked for and no key is known it lets everyone in, at no cost."""

    def __init__(self, settings: GatewaySettings, streams: Streams) -> None:
        """Raises SluiceError where the file of keys is broken."""
        self._path = settings.keys
        self._streams = streams
        self._known = _Known()
        self._seen: Fingerprint | None = None
        self.required = settings.authentication == "required"
        self.broken = ""
        self._load()

    async def admit(self, headers: RequestHeaders, stream: str) -> Caller:
        """The caller, who may submit to the stream. Raises Problem 401 or 403."""
        caller = await self.caller(headers)
        if self.required and not caller.may("submit", stream) and not self._open(stream):
            raise _denied(caller, "submit", stream)
        return caller

    async def caller(self, headers: RequestHeaders) -> Caller:
        """Who asks. Raises Problem 401 for a key that is unknown or expired, even where none is asked for."""
        known = self._known
        if not (self.required or known.callers):
            return ANONYMOUS
        token = _token(headers)
        if token is None:
            return ANONYMOUS
        key = known.ring.find(token)
        if key is None:
            raise _unauthorized("unknown-key", "This API key is not known")
        if key.expires is not None and key.expires.timestamp() <= time.time():
            raise _unauthorized("expired-key", f"The API key {key.id} has expired")
        return known.callers[key.id]

    def sees(self, caller: Caller, stream: str) -> bool:
        """Whether a stream's contract is there for a caller: to read it, or to submit by it."""
        return not self.required or any(caller.may(verb, stream) for verb in VERBS) or self._open(stream)

    def require_sight(self, caller: Caller, stream: str) -> None:
        """Raises Problem 401 or 403 where the stream is not for the caller to see."""
        if not self.sees(caller, stream):
            raise _denied(caller, "read", stream)

    def operates(self, caller: Caller) -> bool:
        """Whether a caller may see what speaks of all streams: metrics, and why the gateway is not ready."""
        return not self.required or "read:*" in caller.scopes

    def require_operator(self, caller: Caller) -> None:
        """Raises Problem 401 or 403."""
        if not self.operates(caller):
            raise _denied(caller, "read", "*")

    def poll(self) -> bool:
        """Read the keys again if the file is another one; whether it was. A broken one changes nothing but `broken`."""
        try:
            return self._load()
        except SluiceError as failure:
            if self.broken != str(failure):
                log.error("API keys cannot be read; the ones before stay", reason=str(failure))
            self.broken = str(failure)
            return False

    async def watch(self, interval: float) -> None:
        """Poll for ever, away from the event loop's thread."""
        while self._path is not None:
            await asyncio.sleep(interval)
            await asyncio.to_thread(self.poll)

    def _open(self, stream: str) -> bool:
        served = self._streams.served.get(stream)
        return served is not None and served.stream.anonymous_submission

    def _load(self) -> bool:
        mark = _fingerprint(self._path) if self._path is not None else None
        if mark == self._seen or self._path is None:
            return False
        ring = read_keys(self._path)
        self._known = _Known(ring, {key.id: Caller.of(key.id, frozenset(key.scopes)) for key in ring.keys})
        self._seen, self.broken = mark, ""
        log.info("API keys are read", keys=len(ring.keys))
        return True


def _fingerprint(path: Path) -> Fingerprint | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _token(headers: RequestHeaders) -> str | None:
    scheme, _, token = (headers.get(b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get(b"x-api-key")


def _unauthorized(slug: str, detail: str) -> Problem:
    return Problem(401, slug, detail, headers={"www-authenticate": f'{REALM}, error="invalid_token"'})


def _denied(caller: Caller, verb: str, stream: str) -> Problem:
    if caller is ANONYMOUS:
        detail = f"To {verb} {stream[:100]} takes an API key: Authorization: Bearer …, or X-API-Key"
        return Problem(401, "no-key", detail, headers={"www-authenticate": REALM})
    detail = f"This API key has no scope {verb}:{stream[:100]}"
    challenge = f'{REALM}, error="insufficient_scope"'
    return Problem(403, "no-scope", detail, headers={"www-authenticate": challenge})
