"""Message keys and partitions: the same entity always has the same key, the same key always the same partition."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from struct import unpack_from
from typing import Any

import numpy as np
import orjson

from catalog.contract import Column, Stream

KeyOf = Callable[[Any], bytes]

SEED, MIX = 0x9747B28C, 0x5BD1E995  # of Kafka's murmur2, org.apache.kafka.common.utils.Utils
_VECTOR_FROM = 12  # below this many keys the loop in Python is quicker than numpy's fixed cost


def key_of(stream: Stream) -> KeyOf | None:
    """How a payload's key is read, or None where the contract names none. The function wants a payload that was checked."""
    if not stream.key:
        return None
    columns = [stream.column(name) for name in stream.key]
    if len(columns) > 1:
        parts = [(column, column.pointer) for column in columns]
        # A JSON list keeps ("a", "bc") and ("ab", "c") apart.
        return lambda value: orjson.dumps([canonical(column, _at(value, pointer)) for column, pointer in parts])
    column = columns[0]
    if column.logical_type == "string" and len(column.pointer) == 1:
        member = column.pointer[0]
        return lambda value: value[member].encode()
    return lambda value: canonical(column, _at(value, column.pointer)).encode()


def canonical(column: Column, value: Any) -> str:
    """One text for each value of silver's column: 3 and 3.0 are one key, and so are two writings of an instant."""
    if isinstance(value, str):
        return _instant(value) if column.logical_type == "timestamp" and not column.format else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _instant(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment.astimezone(UTC).isoformat() if moment.tzinfo else text


def _at(value: Any, pointer: tuple[str | int, ...]) -> Any:
    for step in pointer:
        value = value[step]
    return value


def partitions(keys: Sequence[bytes], count: int) -> list[int]:
    """The partition of each key as Kafka's default partitioner picks it, for a topic of `count` partitions."""
    if count == 1:
        return [0] * len(keys)
    if len(keys) < _VECTOR_FROM:
        return [(murmur2(key) & 0x7FFFFFFF) % count for key in keys]
    lengths = set(map(len, keys))
    if len(lengths) == 1:
        return _vector(keys, count)
    chosen = [0] * len(keys)
    for length in lengths:
        indices = [index for index, key in enumerate(keys) if len(key) == length]
        for index, partition in zip(indices, _vector([keys[i] for i in indices], count), strict=True):
            chosen[index] = partition
    return chosen


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2, unsigned."""
    length = len(key)
    words = length >> 2
    h = SEED ^ length
    for k in unpack_from(f"<{words}I", key):
        k = k * MIX & 0xFFFFFFFF
        k ^= k >> 24
        h = (h * MIX ^ k * MIX) & 0xFFFFFFFF
    if length & 3:
        h = (h ^ int.from_bytes(key[words * 4 :], "little")) * MIX & 0xFFFFFFFF
    h ^= h >> 13
    h = h * MIX & 0xFFFFFFFF
    return h ^ h >> 15


def _vector(keys: Sequence[bytes], count: int) -> list[int]:
    """murmur2 of keys of one length, a column of four bytes at a time."""
    length = len(keys[0])
    words = length >> 2
    table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), length)
    mix = np.uint32(MIX)
    k = np.ascontiguousarray(table[:, : words * 4]).view("<u4").T.astype(np.uint32)
    k *= mix
    k ^= k >> 24
    k *= mix
    h = np.full(len(keys), SEED ^ length, dtype=np.uint32)
    for column in k:
        h *= mix
        h ^= column
    if length & 3:
        for place in range(length & 3):
            h ^= table[:, words * 4 + place].astype(np.uint32) << np.uint32(8 * place)
        h *= mix
    h ^= h >> 13
    h *= mix
    h ^= h >> 15
    chosen: list[int] = ((h & np.uint32(0x7FFFFFFF)) % np.uint32(count)).tolist()
    return chosen
