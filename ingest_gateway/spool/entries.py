"""Records to a frame's body and back: MessagePack, columns as they are, so that a batch costs one encoding."""

import msgspec

from ingest_gateway.records import Header, Records


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """The events of one request for one stream. `keys` is None where the ids are the keys."""

    timestamp_ms: int
    headers: list[Header]
    own_headers: list[list[Header]] | None
    ids: list[bytes]
    keys: list[bytes] | None
    payloads: list[bytes]

    def records(self) -> Records:
        """What the producer takes."""
        keys = self.ids if self.keys is None else self.keys
        return Records(keys, self.payloads, self.ids, self.headers, self.own_headers, self.timestamp_ms)


class _Time(msgspec.Struct, array_like=True, frozen=True):
    timestamp_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_time = msgspec.msgpack.Decoder(_Time).decode


def encode(records: Records) -> bytes:
    """The body of a frame."""
    keys = None if records.keys is records.ids else list(records.keys)
    own = None if records.own_headers is None else list(records.own_headers)
    return _encode(
        Entry(records.timestamp_ms, records.headers, own, list(records.ids), keys, list(records.payloads))
    )  # fmt: skip


def decode(body: bytes) -> Entry:
    """Raises msgspec.DecodeError, or its child ValidationError, where the body is none of ours."""
    return _decode(body)


def received_ms(body: bytes) -> int:
    """When the events were received, in ms since 1970. Raises as `decode`."""
    return _decode_time(body).timestamp_ms
