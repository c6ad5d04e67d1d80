"""Record batches in Kafka's format (version 2), encoded a request at a time.

The client library encodes a record at a time, each with all its headers. The records of a request share all headers but one, so
here those are encoded once. Byte for byte the outcome is the library's.
"""

import gzip
import struct
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache

import google_crc32c

from catalog.names import H_CONTENT_TYPE, H_CONTRACT_VERSION, H_ID, H_PRODUCER, H_SOURCE, H_SPEC_VERSION, H_TYPE
from ingest_gateway.records import Header, Records

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Base offset, length, leader epoch, magic, checksum | attributes, last offset, first and last timestamp, producer's id and epoch,
# first sequence number, count. The checksum is of what follows it.
_PLACE = struct.Struct(">qiibI")
_STATE = struct.Struct(">hiqqqhii")
_CHECKSUM = struct.Struct(">I")
_BEFORE_LENGTH = 12  # bytes up to and with the length, which counts those after it
_MAGIC = 2
_HEADER = _PLACE.size + _STATE.size
_CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {"gzip": (1, gzip.compress), "zstd": (4, zstd.compress)}


def varint(value: int) -> bytes:
    """Kafka's variable-length integer, zigzag."""
    left = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


class _Varints(dict[int, bytes]):
    """Those of usual lengths are looked up; no more are kept than that."""

    def __missing__(self, value: int) -> bytes:
        return varint(value)


_VARINTS = _Varints((value, varint(value)) for value in range(16_384))


class RecordBatch:
    """A batch of one partition's records. `size` in bytes, before it is packed."""

    def __init__(self, limit: int, compression: str = "none") -> None:
        """`limit`: bytes, of which a first record may have more."""
        self._limit = limit
        self._codec = _CODECS.get(compression)
        self._encoded = [bytes(_HEADER)]
        self.size = _HEADER
        self.count = 0
        self._first_ms = self._last_ms = 0

    def add(self, records: Records, indices: Sequence[int], start: int) -> int:
        """Put in records[indices[start:]], as many as fit. Returns the place in `indices` of the first that does not."""
        if not self.count:
            self._first_ms = self._last_ms = records.timestamp_ms
        head = b"\0" + varint(records.timestamp_ms - self._first_ms)  # no attributes
        keys, payloads, ids, own = records.keys, records.payloads, records.ids, records.own_headers
        shared = _headers(records.headers) if own is None else b""
        encoded_own: dict[int, bytes] = {}
        varints, encoded, size, count, limit = _VARINTS, self._encoded, self.size, self.count, self._limit
        place = start
        for place in range(start, len(indices)):
            index = indices[place]
            key, payload, event_id = keys[index], payloads[index], ids[index]
            if own is not None:
                shared = _once(own[index], encoded_own)
            record = b"".join((
                head, varints[count], varints[len(key)], key, varints[len(payload)], payload,
                shared, varints[len(event_id)], event_id,
            ))  # fmt: skip
            length = varints[len(record)]
            grown = size + len(length) + len(record)
            if grown > limit and count:
                break
            size = grown
            encoded += (length, record)
            count += 1
        else:
            place = len(indices)
        if count > self.count:
            self._last_ms = max(self._last_ms, records.timestamp_ms)
        self.size, self.count = size, count
        return place

    def encode(self, producer_id: int, epoch: int, sequence: int) -> bytearray:
        """The bytes, with the number by which the broker knows a resend. Once: the records are given up."""
        buffer = bytearray().join(self._encoded)
        self._encoded = []
        attributes = self._compress(buffer)
        _PLACE.pack_into(buffer, 0, 0, len(buffer) - _BEFORE_LENGTH, -1, _MAGIC, 0)
        _STATE.pack_into(
            buffer, _PLACE.size, attributes, self.count - 1, self._first_ms, self._last_ms, producer_id, epoch, sequence, self.count
        )  # fmt: skip
        checksum = google_crc32c.value(bytes(memoryview(buffer)[_PLACE.size :]))  # by the processor's own instruction
        _CHECKSUM.pack_into(buffer, _PLACE.size - _CHECKSUM.size, checksum)
        return buffer

    def _compress(self, buffer: bytearray) -> int:
        if self._codec is None:
            return 0
        number, encode = self._codec
        packed = encode(bytes(memoryview(buffer)[_HEADER:]))
        if len(packed) >= len(buffer) - _HEADER:
            return 0
        buffer[_HEADER:] = packed
        return number


def _once(headers: Sequence[Header], known: dict[int, bytes]) -> bytes:
    """Events of a request that brought the same attributes share one list of headers."""
    found = known.get(id(headers))
    if found is None:
        found = known[id(headers)] = _headers(headers)
    return found


def _headers(headers: Sequence[Header]) -> bytes:
    """A record's headers, up to the length of its id."""
    return b"".join([
        _VARINTS[len(headers) + 1],
        *[_remembered(name, value) if name in _FEW else _header(name, value) for name, value in headers],
        _ID,
    ])  # fmt: skip


def _header(name: str, value: bytes) -> bytes:
    encoded = name.encode()
    return _VARINTS[len(encoded)] + encoded + _VARINTS[len(value)] + value


_remembered = lru_cache(maxsize=256)(_header)
_FEW = frozenset((H_CONTENT_TYPE, H_CONTRACT_VERSION, H_PRODUCER, H_SOURCE, H_SPEC_VERSION, H_TYPE))  # in values
_ID = _VARINTS[len(H_ID.encode())] + H_ID.encode()
