"""Compressed bodies: what was packed comes out, and nothing that is packed badly or too tightly gets far."""

import gzip
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_gateway.encodings import ACCEPTED, MOST_MEMBERS, PIECE, unpacked, unpacker
from ingest_gateway.intake import Budget, Hold
from ingest_gateway.problems import Problem

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
BOTH = pytest.mark.parametrize("encoding", sorted(PACK))
TEXT = b'{"sensor":"a","value":1}\n'


class Meter:
    """Adds up what it is told, as the budget does."""

    def __init__(self) -> None:
        self.size = 0

    def __call__(self, size: int) -> None:
        self.size += size


def refusal(body: bytes, encoding: str, most: int = 1 << 20) -> Problem:
    with pytest.raises(Problem) as raised:
        unpacked(body, encoding, most, Meter())
    return raised.value


@BOTH
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), times=st.integers(1, 400))
def test_what_was_packed_comes_out_and_is_counted(encoding: str, parts: list[bytes], times: int) -> None:
    # Several members (gzip) or frames (zstd) one after the other are one body.
    packed = b"".join(PACK[encoding](part * times) for part in parts)
    whole, meter = b"".join(part * times for part in parts), Meter()
    assert unpacked(packed, encoding, 8 << 20, meter) == whole
    assert meter.size == len(whole)


@BOTH
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_body_that_is_cut_off_or_followed_by_something_is_refused(encoding: str, data: st.DataObject) -> None:
    packed = PACK[encoding](TEXT * 500)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    assert (refusal(cut, encoding).status, refusal(cut, encoding).slug) == (400, "not-decompressed")
    assert refusal(packed + data.draw(st.binary(min_size=1, max_size=50)), encoding).status == 400
    assert refusal(TEXT, encoding).status == 400


@BOTH
@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_body_is_refused_or_harmless(encoding: str, place: int, byte: int) -> None:
    text = TEXT * 500
    packed = bytearray(gzip.compress(text) if encoding == "gzip" else zstd.compress(text, options={CHECKSUM: 1}))
    packed[place % len(packed)] = byte
    statuses = {400}
    try:
        # A byte of the header may change without harm (gzip's time stamp); the text may not.
        assert unpacked(bytes(packed), encoding, 1 << 20, Meter()) == text
    except Problem as problem:
        statuses.add(problem.status)
    assert statuses == {400}


CHECKSUM = zstd.CompressionParameter.checksum_flag


@BOTH
@pytest.mark.parametrize("spare", [0, 1])
def test_the_limit_is_that_of_the_decompressed_size(encoding: str, spare: int) -> None:
    body = PACK[encoding](bytes(500_000))
    if spare == 0:
        assert len(unpacked(body, encoding, 500_000, Meter())) == 500_000
    else:
        assert refusal(body, encoding, 499_999).status == 413


@BOTH
def test_a_bomb_is_stopped_as_it_unfolds(encoding: str) -> None:
    bomb, meter = PACK[encoding](bytes(100 << 20)), Meter()
    assert len(bomb) < 120_000
    with pytest.raises(Problem) as raised:
        unpacked(bomb, encoding, 1 << 20, meter)
    assert raised.value.status == 413
    assert meter.size <= 1 << 20


@BOTH
def test_decompressed_bytes_count_against_the_budget(encoding: str) -> None:
    budget = Budget(3 * PIECE)
    hold = Hold(budget, 1)
    with pytest.raises(Problem) as raised:
        unpacked(PACK[encoding](bytes(1 << 20)), encoding, 8 << 20, hold.take)
    assert (raised.value.status, raised.value.slug) == (503, "overloaded")
    assert 2 * PIECE <= budget.held <= 3 * PIECE
    hold.release()
    assert budget.held == 0


@BOTH
def test_members_are_bounded_because_an_empty_one_costs_more_than_its_bytes(encoding: str) -> None:
    empty = PACK[encoding](b"")
    assert unpacked(empty * MOST_MEMBERS, encoding, 100, Meter()) == b""
    assert "more than 100" in refusal(empty * (MOST_MEMBERS + 1), encoding).detail


def test_a_zstd_frame_may_not_ask_for_a_large_window() -> None:
    # As a stream, so that the frame does not say its size and a decoder must reserve the window.
    for log, taken in ((23, True), (24, False)):
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        body = packer.compress(bytes(1000), mode=packer.FLUSH_BLOCK) + packer.flush()
        if taken:
            assert unpacked(body, "zstd", 1000, Meter()) == bytes(1000)
        else:
            assert "window above 8 MiB" in refusal(body, "zstd").detail


@pytest.mark.parametrize("header", [None, "", "identity", " Identity "])
def test_no_encoding(header: str | None) -> None:
    assert unpacker(header) is None


def test_names_of_encodings() -> None:
    assert [unpacker(name) for name in ("gzip", "GZIP", "x-gzip", " zstd")] == ["gzip", "gzip", "gzip", "zstd"]
    for name in ("br", "deflate", "gzip, gzip", "gzip, zstd", "compress"):
        with pytest.raises(Problem) as raised:
            unpacker(name)
        assert (raised.value.status, raised.value.headers["accept-encoding"]) == (415, ACCEPTED)


def test_raw_deflate_is_no_gzip() -> None:
    assert refusal(zlib.compress(TEXT), "gzip").status == 400
