"""What is held of files that were read before."""

import pyarrow as pa

from stream_jobs.file_cache import FileCache

TEN = pa.table({"n": pa.array(range(10), pa.int64())})  # 80 bytes


class Reads:
    """Which files were read."""

    def __init__(self, limit: int) -> None:
        self.cache = FileCache(limit)
        self.read: list[str] = []

    def look_up(self, *paths: str) -> list[str]:
        """The files of which this look-up had to read something."""
        self.read.clear()
        self.cache.begin()
        for path in paths:
            assert self.cache.get(path, lambda path=path: self._read(path)) is TEN  # type: ignore[misc]
        return list(self.read)

    def _read(self, path: str) -> pa.Table:
        self.read.append(path)
        return TEN


def test_a_file_is_read_once() -> None:
    reads = Reads(160)
    assert reads.look_up("a", "b", "a") == ["a", "b"]
    assert reads.look_up("b", "a") == []


def test_of_a_table_that_is_too_large_a_part_stays() -> None:
    reads = Reads(240)
    assert reads.look_up(*"abcd") == [*"abcd"]
    assert reads.look_up(*"abcd") == ["d"]
    assert reads.look_up(*"abcd") == ["d"]


def test_files_that_were_compacted_away_make_room() -> None:
    reads = Reads(240)
    reads.look_up(*"abc")
    assert reads.look_up(*"bcd") == ["d"]
    assert reads.look_up(*"bcd") == []


def test_a_file_that_is_larger_than_all_is_not_held() -> None:
    reads = Reads(79)
    assert reads.look_up("a") == reads.look_up("a") == ["a"]
