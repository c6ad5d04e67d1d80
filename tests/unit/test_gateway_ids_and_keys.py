"""Event ids, message keys and partitions."""

import re
import uuid

import pytest
from aiokafka.partitioner import murmur2 as kafkas_murmur2
from hypothesis import given
from hypothesis import strategies as st

from catalog.contract import Column, Stream
from ingest_gateway.ids import Uuid7, idempotency_key, is_event_id, request_id
from ingest_gateway.keys import canonical, key_of, murmur2, partitions


def test_ids_are_version_7_in_rising_order_even_when_the_clock_stands_or_goes_back() -> None:
    clock = iter([1000, 1000, 999, 1001, 1001, *[1001] * 200])
    mint = Uuid7(lambda: next(clock))
    made = [name for count in (1, 3, 100, 2, 0, 1) for name in mint(count)]
    made += [name for _ in range(150) for name in mint(2)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    for name in made:
        parsed = uuid.UUID(name)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, name)
    assert uuid.UUID(made[0]).int >> 80 == 1000


def test_idempotency_keys() -> None:
    assert idempotency_key('"8e03978e-40d5"') == "8e03978e-40d5"
    assert idempotency_key(" order:7/a ") == "order:7/a"
    for refused in ("", '""', "a b", "é", "a" * 201, 'a"b', "a\tb"):
        assert idempotency_key(refused) is None


def test_event_ids() -> None:
    assert is_event_id("é" * 200)
    for refused in ("", "a" * 201, "a\x00", "a\x7f", 7, None):
        assert not is_event_id(refused)


def test_request_ids_are_taken_where_they_are_harmless() -> None:
    assert request_id("abc-1") == "abc-1"
    for header in (None, "", "a b", "x" * 65, "{"):
        assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", request_id(header))


@given(st.binary(max_size=60))
def test_murmur2_is_kafkas(key: bytes) -> None:
    assert murmur2(key) == kafkas_murmur2(key)


@given(st.lists(st.binary(max_size=20), max_size=60), st.integers(1, 50))
def test_partitions_are_kafkas_for_any_mix_of_keys(keys: list[bytes], count: int) -> None:
    assert partitions(keys, count) == [(kafkas_murmur2(key) & 0x7FFFFFFF) % count for key in keys]


def stream(*columns: Column, key: tuple[str, ...]) -> Stream:
    return Stream("s", "1.0.0", "", "", "entity", columns, key=key)


def column(name: str, kind: str, *pointer: str | int) -> Column:
    return Column(name, kind, required=True, pointer=pointer or (name,))


def test_keys_are_read_where_the_contract_says() -> None:
    assert key_of(stream(column("a", "string"), key=())) is None
    plain = key_of(stream(column("a", "string"), key=("a",)))
    deep = key_of(stream(column("a", "integer", "in", 1, "a"), key=("a",)))
    both = key_of(stream(column("a", "string"), column("b", "string"), key=("a", "b")))
    assert plain is not None
    assert deep is not None
    assert both is not None
    assert plain({"a": "é"}) == "é".encode()
    assert deep({"in": [0, {"a": 7}]}) == b"7"
    assert both({"a": "x", "b": "yz"}) != both({"a": "xy", "b": "z"})


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("integer", 3, 3.0),
        ("number", 1e3, 1000),
        ("timestamp", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00"),
        ("timestamp", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_two_writings_of_a_value_are_one_key(kind: str, one: object, other: object) -> None:
    assert canonical(column("a", kind), one) == canonical(column("a", kind), other)


def test_different_values_are_different_keys() -> None:
    texts = [canonical(column("a", "number"), value) for value in (1, 1.5, -1, 2**63, 10**30)]
    assert len(set(texts)) == len(texts)
    assert canonical(column("a", "boolean"), True) == "true"
    assert canonical(column("a", "string"), "2026-01-01T00:00:00Z") == "2026-01-01T00:00:00Z"
