"""Counters that the workers of one machine share: a table in mapped memory, for the `limits` library to count in."""

import fcntl
import math
import mmap
import os
import struct
import time
from hashlib import blake2b
from pathlib import Path

from limits.storage.base import SlidingWindowCounterSupport, Storage

TABLE = "rates"  # the file's name
BUCKETS, WAYS = 1024, 8  # identities that are counted at a time: 8,192
_SLOT = struct.Struct(
    "<16sdII"
)  # hash of the identity, when its counts are over, previous window's count, this window's
_BUCKET = WAYS * _SLOT.size
SIZE = BUCKETS * _BUCKET
MOST = 2**32 - 1


def make_table(path: Path) -> None:
    """The file that workers map; its folder is theirs alone."""
    with path.open("xb") as file:
        file.truncate(SIZE)


class RateTable(Storage, SlidingWindowCounterSupport):
    """A set-associative table. An identity that comes to a full bucket takes the place of the one that was counted least.

    With a path it is shared, each bucket behind a lock that the system takes from a worker that dies; without, it is of
    this process alone and needs none.
    """

    STORAGE_SCHEME = None

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self._file = os.open(path, os.O_RDWR) if path is not None else -1
        self._map = mmap.mmap(self._file, SIZE)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount`, unless the weighted count of this window and the one before would exceed the limit."""
        identity, bucket = _place(key)
        self._lock(bucket)
        try:
            now = time.time()
            slot, over, before, count = self._find(identity, bucket, expiry, now)
            weight = before * _left(now, expiry) / expiry + count
            if math.floor(weight) + amount > limit:
                return False
            _SLOT.pack_into(self._map, slot, identity, over, before, min(count + amount, MOST))
            return True
        finally:
            self._unlock(bucket)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Count and remaining seconds of the window before, and of this one."""
        identity, bucket = _place(key)
        self._lock(bucket)
        try:
            now = time.time()
            _, _, before, count = self._find(identity, bucket, expiry, now)
        finally:
            self._unlock(bucket)
        left = _left(now, expiry)
        return before, left if before else 0.0, count, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget an identity."""
        identity, bucket = _place(key)
        self._lock(bucket)
        try:
            slot, *_ = self._find(identity, bucket, expiry, time.time())
            _SLOT.pack_into(self._map, slot, bytes(16), 0.0, 0, 0)
        finally:
            self._unlock(bucket)

    def _find(self, identity: bytes, bucket: int, expiry: int, now: float) -> tuple[int, float, int, int]:
        """The identity's slot (its own, or one to take), when its counts are over, and its counts as of now."""
        over = (now // expiry + 2) * expiry  # this window counts until the end of the next
        free, least = -1, (MOST + 1, 0)
        for slot in range(bucket, bucket + _BUCKET, _SLOT.size):
            found, until, before, count = _SLOT.unpack_from(self._map, slot)
            if found == identity:
                if until == over:
                    return slot, over, before, count
                return slot, over, count if until == over - expiry else 0, 0
            rank = (-1, 0) if until <= now else (count, before)
            if rank < least:
                free, least = slot, rank
        return free, over, 0, 0

    def _lock(self, bucket: int) -> None:
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, bucket)

    def _unlock(self, bucket: int) -> None:
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, bucket)

    def check(self) -> bool:
        """Mapped memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget all."""
        self._map[:] = bytes(SIZE)
        return None

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the table may raise."""
        return OSError

    # The fixed window strategy's part of the interface, which the gateway does not use.
    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Not supported."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Not supported."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Not supported."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Not supported."""
        raise NotImplementedError


def _place(key: str) -> tuple[bytes, int]:
    identity = blake2b(key.encode(), digest_size=16).digest()
    return identity, (identity[0] << 8 | identity[1]) % BUCKETS * _BUCKET


def _left(now: float, expiry: int) -> float:
    return expiry - now % expiry
