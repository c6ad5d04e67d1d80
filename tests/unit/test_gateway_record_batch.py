"""Record batches: byte for byte what the client library makes of the same records."""

import gzip
import sys
from collections.abc import Callable

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from catalog.names import H_ID, H_SOURCE, H_TIME
from ingest_gateway.record_batch import RecordBatch, varint
from ingest_gateway.records import Header, Records

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SMALL = st.binary(max_size=40)
LARGE = st.builds(lambda byte, count: byte * count, st.binary(min_size=1, max_size=1), st.integers(8_000, 20_000))
HEADER = st.tuples(st.sampled_from([H_TIME, H_SOURCE, "ce_größe"]), SMALL)


@st.composite
def requests(draw: st.DrawFn) -> Records:
    """What a request gives."""
    count = draw(st.integers(1, 5))

    def column(of: st.SearchStrategy[bytes]) -> list[bytes]:
        return draw(st.lists(of, min_size=count, max_size=count))

    headers: list[Header] = draw(st.lists(HEADER, max_size=3))
    own = draw(st.none() | st.lists(st.lists(HEADER, max_size=70), min_size=count, max_size=count))
    return Records(
        column(SMALL), column(SMALL | LARGE), column(SMALL), headers, own, draw(st.integers(0, 4_102_444_800_000))
    )


def librarys(many: list[Records], limit: int) -> tuple[bytes, int]:
    """The library's batch, and how many records it took."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=7, producer_epoch=3,
        base_sequence=11, batch_size=limit,
    )  # fmt: skip
    taken = 0
    for records in many:
        for index, key in enumerate(records.keys):
            headers = records.headers if records.own_headers is None else records.own_headers[index]
            put_in = builder.append(
                taken, records.timestamp_ms, key, records.payloads[index], [*headers, (H_ID, records.ids[index])]
            )
            if put_in is None:
                return bytes(builder.build()), taken
            taken += 1
    return bytes(builder.build()), taken


def ours(many: list[Records], limit: int, compression: str = "none") -> RecordBatch:
    batch = RecordBatch(limit, compression)
    for records in many:
        if batch.add(records, range(len(records.keys)), 0) < len(records.keys):
            break
    return batch


@given(st.lists(requests(), min_size=1, max_size=4), st.sampled_from([1, 500, 20_000, 1_000_000]))
def test_a_batch_is_byte_for_byte_the_librarys(many: list[Records], limit: int) -> None:
    batch = ours(many, limit)
    expected, taken = librarys(many, limit)
    assert (batch.count, batch.size) == (taken, len(expected))
    assert batch.encode(7, 3, 11) == expected


@pytest.mark.parametrize(
    ("compression", "number", "unpack"), [("gzip", 1, gzip.decompress), ("zstd", 4, zstd.decompress)]
)
def test_packed_records_are_the_same_ones(compression: str, number: int, unpack: Callable[[bytes], bytes]) -> None:
    many = [Records([b"k"] * 9, [b"payload" * 20] * 9, [b"i"] * 9, [], None, 1)]
    packed, plain = ours(many, 10_000, compression).encode(7, 3, 11), ours(many, 10_000).encode(7, 3, 11)
    assert (packed[22], unpack(bytes(packed[61:]))) == (number, bytes(plain[61:]))
    assert int.from_bytes(packed[8:12], "big") == len(packed) - 12
    assert packed[23:61] == plain[23:61]
    assert int.from_bytes(packed[17:21], "big") == calc_crc32c(packed[21:])


def test_what_packing_would_make_longer_is_not_packed() -> None:
    many = [Records([b"k"], [b"p"], [b"i"], [], None, 1)]
    assert ours(many, 500, "zstd").encode(7, 3, 11) == ours(many, 500).encode(7, 3, 11)


def test_what_does_not_fit_is_told_by_its_place() -> None:
    records = Records([b"k"] * 5, [b"x" * 100] * 5, [b"i"] * 5, [], None, 0)
    first, second = RecordBatch(500), RecordBatch(500)
    assert first.add(records, [4, 3, 2, 1, 0], 0) == 3
    assert first.add(records, [4, 3, 2, 1, 0], 3) == 3
    assert second.add(records, [4, 3, 2, 1, 0], 3) == 5
    assert (first.count, second.count) == (3, 2)
    assert first.size == len(first.encode(7, 3, 11))


def test_a_first_record_is_taken_whatever_its_size() -> None:
    batch = RecordBatch(10)
    records = Records([b"k"] * 2, [b"x" * 100] * 2, [b"i"] * 2, [], None, 0)
    assert batch.add(records, range(2), 0) == 1


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (-1, "01"), (1, "02"), (-64, "7f"), (64, "8001"), (300, "d804")]
)
def test_varint(value: int, encoded: str) -> None:
    assert varint(value).hex() == encoded
