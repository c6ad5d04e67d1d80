"""The gate: API keys and tokens to callers, callers and streams to a yes or a 401 or 403."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from catalog.errors import SluiceError
from ingest_gateway.api_keys import MARK, VERBS, KeyRing, read_keys
from ingest_gateway.callers import ANONYMOUS, Caller, denied, unauthorized
from ingest_gateway.intake import RequestHeaders
from ingest_gateway.settings import GatewaySettings
from ingest_gateway.streams import Fingerprint, Streams

if TYPE_CHECKING:
    from ingest_gateway.oidc import Issuer

log = structlog.get_logger("sluice.gateway.access")


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
        self.issuer = _issuer(settings)
        self._seen: Fingerprint | None = None
        self.required = settings.authentication == "required"
        self.broken = ""
        self._load()

    async def admit(self, headers: RequestHeaders, stream: str) -> Caller:
        """The caller, who may submit to the stream. Raises Problem 401 or 403."""
        return self._admitted(await self.caller(headers), stream)

    def admit_at_once(self, headers: RequestHeaders, stream: str) -> Caller:
        """The same, where no identity provider has to be asked."""
        caller = self._caller_at_once(headers)
        assert caller is not None
        return self._admitted(caller, stream)

    def _admitted(self, caller: Caller, stream: str) -> Caller:
        if self.required and not caller.may("submit", stream) and not self._open(stream):
            raise denied(caller, "submit", stream)
        return caller

    async def caller(self, headers: RequestHeaders) -> Caller:
        """Who asks. Raises Problem 401 for a key or token that is no good, even where none is asked for."""
        caller = self._caller_at_once(headers)
        if caller is None:
            assert self.issuer is not None
            return await self.issuer.caller(_token(headers) or "")
        return caller

    def _caller_at_once(self, headers: RequestHeaders) -> Caller | None:
        """Who asks; None where a token of the identity provider says it, which may take a question to it."""
        known = self._known
        if not (self.required or known.callers or self.issuer):
            return ANONYMOUS
        token = _token(headers)
        if token is None:
            return ANONYMOUS
        if self.issuer is not None and not token.startswith(f"{MARK}_"):
            return None
        key = known.ring.find(token)
        if key is None:
            raise unauthorized("unknown-key", "This API key is not known")
        if key.expires is not None and key.expires.timestamp() <= time.time():
            raise unauthorized("expired-key", f"The API key {key.id} has expired")
        return known.callers[key.id]

    def known_as(self, headers: RequestHeaders) -> str | None:
        """For the log, who sent what is refused: the key's id, even if it has expired, or a token's subject; None for others."""
        token = _token(headers)
        if token is None:
            return None
        if self.issuer is not None and not token.startswith(f"{MARK}_"):
            caller = self.issuer.known(token)
            return None if caller is None else caller.producer.decode()
        key = self._known.ring.find(token)
        return None if key is None else key.id

    def sees(self, caller: Caller, stream: str) -> bool:
        """Whether a stream's contract is there for a caller: to read it, or to submit by it."""
        return not self.required or any(caller.may(verb, stream) for verb in VERBS) or self._open(stream)

    def require_sight(self, caller: Caller, stream: str) -> None:
        """Raises Problem 401 or 403 where the stream is not for the caller to see."""
        if not self.sees(caller, stream):
            raise denied(caller, "read", stream)

    def operates(self, caller: Caller) -> bool:
        """Whether a caller may see what speaks of all streams: metrics, and why the gateway is not ready."""
        return not self.required or "read:*" in caller.scopes

    def require_operator(self, caller: Caller) -> None:
        """Raises Problem 401 or 403."""
        if not self.operates(caller):
            raise denied(caller, "read", "*")

    def troubles(self) -> list[str]:
        """What is not well, for those who operate the gateway."""
        found = [f"keys: {self.broken}"] if self.broken else []
        if self.issuer is not None and self.issuer.trouble:
            found.append(f"identity provider: {self.issuer.trouble}")
        return found

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
        """Poll the file for ever, away from the event loop's thread, and keep the provider's keys fresh."""
        async with asyncio.TaskGroup() as tasks:
            if self.issuer is not None:
                tasks.create_task(self.issuer.watch())
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


def _issuer(settings: GatewaySettings) -> "Issuer | None":
    if settings.oidc_issuer is None:
        return None
    from ingest_gateway.oidc import Issuer  # with its cryptography some megabytes, which most gateways do without

    return Issuer(settings)


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
