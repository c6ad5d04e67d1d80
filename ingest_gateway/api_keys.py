"""API keys: made once, kept as hashes in a file that is replaced as a whole, checked without telling how close a guess was."""

import contextlib
import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import msgspec

from catalog.errors import SluiceError

MARK = "sluice"  # what a key begins with, so that scanners for leaked secrets know it
VERBS = ("submit", "read")
_SCOPE = re.compile(r"(submit|read):([a-z][a-z0-9_]*\*?|\*)\Z")
_TOKEN = re.compile(MARK + r"_([0-9a-f]{12})_([A-Za-z0-9_-]{43})\Z")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. `scopes` are `submit:orders`, `read:iot_*` or `submit:*`; times are ISO 8601 in UTC."""

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now


class _File(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    keys: tuple[ApiKey, ...] = ()


_decode = msgspec.json.Decoder(_File).decode


def is_scope(text: str) -> bool:
    """Whether a text is a verb and a stream, a beginning of streams' names, or all streams."""
    return _SCOPE.match(text) is not None


def hashed(key_id: str, secret: str) -> str:
    """What is stored of a secret. A fast hash is right here: no one guesses 256 random bits, and each request pays for it.

    It is keyed with the key's id, so that a hash is of no use in the entry of another key.
    """
    return blake2b(secret.encode(), digest_size=32, key=key_id.encode(), person=b"sluice-api-key").hexdigest()


def new_key(name: str, scopes: Sequence[str], expires: datetime | None) -> tuple[ApiKey, str]:
    """A key and the text that its owner sends, which is nowhere kept."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey(
        id=key_id, name=name, hash=hashed(key_id, secret), scopes=tuple(scopes), created=_now(), expires=expires
    )
    return key, f"{MARK}_{key_id}_{secret}"


class KeyRing:
    """The keys of one moment, looked up by their id."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self.keys = tuple(keys)
        self._by_id = {key.id: key for key in keys}

    def find(self, token: str) -> ApiKey | None:
        """The key that a text is the secret of, expired or not."""
        match = _TOKEN.match(token)
        key_id, secret = match.groups() if match else ("", "")
        key = self._by_id.get(key_id)
        # An id that is not there takes as long as a wrong secret.
        same = hmac.compare_digest(hashed(key_id, secret), key.hash if key else "0" * 64)
        return key if same else None


def read_keys(path: Path) -> KeyRing:
    """The file's keys; none where there is no file. Raises SluiceError where it is no file of keys."""
    try:
        keys = _decode(path.read_bytes()).keys
    except FileNotFoundError:
        return KeyRing()
    except OSError as failure:
        raise SluiceError(f"The API keys in {path} cannot be read: {failure.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise SluiceError(f"{path} is no file of API keys: {failure}") from None
    for key in keys:
        if wrong := [scope for scope in key.scopes if not is_scope(scope)]:
            raise SluiceError(f"{path}: key {key.id} has the scope {wrong[0]!r}; expected one like submit:orders")
        if key.expires is not None and key.expires.tzinfo is None:
            raise SluiceError(f"{path}: key {key.id} expires at a time without a zone; write it like …T00:00:00Z")
    if len({key.id for key in keys}) < len(keys):
        raise SluiceError(f"{path} has a key's id twice")
    return KeyRing(keys)


@contextlib.contextmanager
def changing(path: Path) -> Iterator[list[ApiKey]]:
    """The keys as a list; what it holds at the end replaces the file at once. One writer at a time. Raises SluiceError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as failure:
        raise SluiceError(f"{path} cannot be written: {failure.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = list(read_keys(path).keys)
        yield keys
        _replace(path, msgspec.json.format(msgspec.json.encode(_File(keys=tuple(keys))), indent=1) + b"\n")
    except OSError as failure:
        raise SluiceError(f"{path} cannot be written: {failure.strerror}") from None
    finally:
        os.close(lock)


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
