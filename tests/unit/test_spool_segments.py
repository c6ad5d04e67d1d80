"""The segment format: whatever a crash or a disk does to a file, what was whole is read, and what is lost is told."""

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_gateway.records import Records
from ingest_gateway.spool import entries, frames, segments
from ingest_gateway.spool.frames import HEADER_BYTES, Damage, Frame, Torn

MARKER = b"\x01marker\xff"
BODIES = st.lists(st.binary(max_size=60), min_size=1, max_size=6)


def segment(bodies: list[bytes]) -> bytes:
    return frames.header(MARKER) + b"".join(frames.frame(MARKER, i, body) for i, body in enumerate(bodies))


def read(data: bytes) -> tuple[list[bytes], int, bool]:
    """Bodies, damaged bytes, and whether the tail is torn."""
    found = list(frames.scan(data))
    damaged = sum(piece.end - piece.start for piece in found if isinstance(piece, Damage))
    return [p.body for p in found if isinstance(p, Frame)], damaged, any(isinstance(p, Torn) for p in found)


@given(BODIES)
def test_what_was_written_is_read(bodies: list[bytes]) -> None:
    assert read(segment(bodies)) == (bodies, 0, False)
    assert [piece.events for piece in frames.scan(segment(bodies)) if isinstance(piece, Frame)] == [*range(len(bodies))]


@given(BODIES)
@settings(deadline=None)
def test_a_tail_that_is_torn_at_any_byte_costs_only_the_frame_that_was_being_written(bodies: list[bytes]) -> None:
    data = segment(bodies)
    ends = [piece.end for piece in frames.scan(data) if isinstance(piece, Frame)]
    for cut in range(len(data)):
        whole = sum(end <= cut for end in ends)
        torn = cut not in (0, HEADER_BYTES, *ends)
        assert read(data[:cut]) == (bodies[:whole], 0, torn), f"cut at {cut}"
        if cut:
            zeros = data[:cut] + bytes(40)
            assert read(zeros)[0][:whole] == bodies[:whole], f"cut at {cut}, then zeros"


@given(BODIES)
def test_zeros_after_the_last_frame_are_a_torn_tail(bodies: list[bytes]) -> None:
    assert read(segment(bodies) + bytes(100)) == (bodies, 0, True)


@given(BODIES, st.data())
@settings(deadline=None)
def test_a_flipped_bit_costs_one_frame_at_most_and_is_told(bodies: list[bytes], data: st.DataObject) -> None:
    good = segment(bodies)
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= 1 << data.draw(st.integers(0, 7))
    hit = [i for i, p in enumerate(frames.scan(good)) if isinstance(p, Frame) and p.start <= place < p.end]
    found, damaged, torn = read(bytes(bad))
    assert found == [body for i, body in enumerate(bodies) if i not in hit]
    assert damaged > 0
    assert not torn


@given(BODIES, st.data())
@settings(deadline=None)
def test_a_file_is_read_piece_by_piece_as_it_is_read_whole(bodies: list[bytes], data: st.DataObject) -> None:
    bad = bytearray(segment(bodies))
    for place in data.draw(st.lists(st.integers(0, len(bad) - 1), max_size=3)):
        bad[place] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(bad[: data.draw(st.integers(0, len(bad)))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segment"
        path.write_bytes(cut)
        assert list(segments.pieces(path)) == list(frames.scan(cut))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert read(data)[0] == []


def test_a_payload_that_holds_a_segment_is_a_payload() -> None:
    evil = segment([b"forged"])
    data = bytearray(segment([b"first", evil, b"last"]))
    assert read(bytes(data))[0] == [b"first", evil, b"last"]
    other = frames.new_marker()
    assert other != frames.new_marker()
    inner = frames.header(other) + frames.frame(other, 1, evil) + frames.frame(other, 1, b"last")
    bad = bytearray(inner)
    bad[HEADER_BYTES + 30] ^= 1  # within the frame that carries it
    assert read(bytes(bad))[0] == [b"last"]


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.binary(max_size=20), st.binary(max_size=50)), min_size=1),
    st.booleans(),
    st.booleans(),
)
def test_records_come_back_as_they_were(rows: list[tuple[bytes, bytes, bytes]], keyed: bool, own: bool) -> None:
    ids, keys, payloads = ([row[i] for row in rows] for i in range(3))
    headers = [("ce_type", b"orders"), ("content-type", b"application/json")]
    its_own = [[*headers, ("ce_subject", key)] for key in keys] if own else None
    records = Records(keys if keyed else ids, payloads, ids, headers, its_own, 1_700_000_000_123)
    body = entries.encode(records)
    assert entries.decode(body).records() == records
    assert entries.received_ms(body) == records.timestamp_ms


def a_body(payload: bytes) -> bytes:
    return entries.encode(Records([b"i"], [payload], [b"i"], [], None, 1))


def test_a_segment_on_disk(tmp_path: Path) -> None:
    path = segments.path_for(tmp_path / "orders", 1)
    writer = segments.Writer(path)
    bodies = [a_body(b"%d" % i) for i in range(5)]
    writer.append([(1, bodies[0])])
    writer.append([(2, body) for body in bodies[1:]])
    closed = writer.close()
    assert closed is not None
    assert (closed.events, closed.bytes, closed.oldest_ms) == (9, path.stat().st_size, 1)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    found, content = segments.recovered(path)
    assert (found.events, found.bytes, found.oldest_ms) == (9, closed.bytes, 1)
    assert [frame.body for frame in content.frames] == bodies
    assert segments.in_order(path.parent) == [path]
    assert segments.next_number(path.parent) == 2
    segments.retire(path, damaged=True)
    assert segments.in_order(path.parent) == []
    assert segments.next_number(path.parent) == 2


def test_a_segment_into_which_nothing_was_written_leaves_no_file(tmp_path: Path) -> None:
    writer = segments.Writer(segments.path_for(tmp_path, 1))
    assert writer.close() is None
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to let a file grow beyond (EFBIG), in the middle of a write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_what_was_synced_before(tmp_path: Path) -> None:
    path = segments.path_for(tmp_path, 1)
    writer = segments.Writer(path)
    with files_of_at_most(5000):
        writer.append([(1, a_body(b"x" * 3000))])
        with pytest.raises(OSError, match="large"):
            writer.append([(1, a_body(b"y" * 3000))])
    closed = writer.close()
    assert closed is not None
    content = segments.content(path)
    assert (len(content.frames), content.damaged, content.torn) == (1, 0, 0)
    assert closed.bytes == path.stat().st_size
