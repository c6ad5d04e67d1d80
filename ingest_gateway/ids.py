"""Event ids: what the sender gave, else UUIDv7 (RFC 9562), monotonic within the process and made many at a time."""

import itertools
import random
import re
import time
import uuid
from collections.abc import Callable

MAX_ID = 200  # characters; with "-" and a position it stays below the 255 that a Kafka header reader may expect
_KEY = re.compile(r"[!#-~]{1,200}\Z")
_REQUEST = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_PROCESS, _COUNT = uuid.uuid4().hex[:12], itertools.count(1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def idempotency_key(header: str) -> str | None:
    """The key without the quotes that the IETF draft asks for and few send. None where it has no usable form."""
    text = header.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return text if _KEY.match(text) else None


def is_event_id(text: object) -> bool:
    """Whether a CloudEvents `id` can be an event id: 1 to 200 characters, none of them a control character."""
    if not (isinstance(text, str) and 0 < len(text) <= MAX_ID):
        return False
    return (text.isascii() and text.isprintable()) or _CONTROL.search(text) is None


def request_id(header: str | None) -> str:
    """The caller's `X-Request-Id` where it is harmless in a log, else a new one: the process's mark and a count."""
    return header if header is not None and _REQUEST.match(header) else f"{_PROCESS}-{next(_COUNT):x}"


class Uuid7:
    """Makes UUIDv7 texts. Method 2 of RFC 9562, 6.2: within a millisecond the random part counts upwards.

    The 74 random bits are 42 that are drawn for a call, or counted up where the clock went back or the others are used up,
    and 32 that count, from a random start, within the call and through those that follow in the same millisecond: a call costs
    at most one formatting of the first 28 characters, and one of 8 for each id.
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._draw = random.Random().getrandbits  # seeded by the system; an id is unique, not a secret
        self._ms = 0
        self._high = 0
        self._head = ""
        self._low = 1 << 32

    def __call__(self, count: int) -> list[str]:
        """`count` ids in rising order, each greater than all before it. At most 2**31 a call."""
        now, low = self._now_ms(), self._low
        if now != self._ms or low + count > 1 << 32:
            low = self._begin(now)
        self._low = end = low + count
        head = self._head
        return [f"{head}{low:08x}" for low in range(low, end)]

    def _begin(self, now: int) -> int:
        drawn = self._draw(80)
        if now > self._ms:
            self._ms, self._high = now, drawn >> 39  # 41 bits: the top one is room to count
        else:
            self._high += 1
            if self._high >> 42:
                self._ms, self._high = self._ms + 1, drawn >> 39
        ms, high = self._ms, self._high
        node = 0x8000 | (high >> 16 & 0x3FFF)
        self._head = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-{0x7000 | high >> 30:04x}-{node:04x}-{high & 0xFFFF:04x}"
        return drawn & 0x7FFFFFFF
