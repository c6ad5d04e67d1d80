"""What each kind of file yields, and what is said where it can't be read. No server is needed."""

import gzip
import io
import json
import sys
import tracemalloc
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.contract import Column, Stream
from catalog.errors import SluiceError
from ingest_gateway.fingerprints import Fingerprints
from ingest_gateway.readers import Record
from ingest_gateway.send import from_member
from ingest_gateway.sources import Source, open_source, sniff

DATA = Path(__file__).parents[2] / "infra" / "demo" / "data"


def column(name: str, kind: str = "string", **facts: Any) -> Column:
    return Column(
        name, kind, title=facts.pop("title", name.capitalize()), pointer=facts.pop("pointer", (name,)), **facts
    )


SHOP = Stream(
    "shop", "1.0.0", "Shop", "", "event",
    (
        column("order_id", title="Order Id"), column("quantity", "integer"), column("price", "number", title="Unit price €"),
        column("paid", "boolean"), column("placed", "timestamp", encoding="epoch-millis"), column("day", "date"),
        column("tags", "array"), column("lat", "number", pointer=("geo", "at", 1)),
        column("lon", "number", pointer=("geo", "at", 0)),
    ),
)  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Write a file and read it back as a list of records."""

    def _read(name: str, content: str | bytes, form: str | None = None) -> list[Record]:
        return list(opened(name, content, form).records)

    def opened(name: str, content: str | bytes, form: str | None = None) -> Source:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_source(str(path), SHOP, form)

    _read.opened = opened  # type: ignore[attr-defined]
    return _read


def values(records: list[Record]) -> list[Any]:
    assert not [r.fault for r in records if r.fault]
    return [json.loads(r.payload) for r in records]


class TestCsv:
    def test_headers_are_names_business_names_or_close_to_them(self, read: Any) -> None:
        rows = read("a.csv", "ORDER ID,Quantity,unit price €,PAID\nx,1,2.50,yes\n")
        assert values(rows) == [{"order_id": "x", "quantity": 1, "price": 2.5, "paid": True}]

    def test_numbers_keep_their_digits(self, read: Any) -> None:
        rows = read("a.csv", "quantity,price\n12345678901234567890,0.1000000000000000000001\n+7,.5\n007,1E3\n")
        assert [r.payload for r in rows] == [
            b'{"quantity":12345678901234567890,"price":0.1000000000000000000001}',
            b'{"quantity":7,"price":0.5}',
            b'{"quantity":7,"price":1000}',
        ]

    @pytest.mark.parametrize("cell", ["two", "1,5", "NaN", "inf", "1_000", "0x10", "1e999999999", "--1"])
    def test_a_cell_that_is_no_number_stays_text(self, read: Any, cell: str) -> None:
        row = values(read("a.csv", f'order_id,price\nx,"{cell}"\n'))[0]
        assert row["price"] == cell

    def test_an_empty_cell_is_absent_and_a_place_may_be_nested(self, read: Any) -> None:
        rows = read("a.csv", 'order_id,quantity,lat,lon,placed,tags\nx,,2.5,1.5,1517966773840,"[1,2]"\n')
        assert values(rows) == [{"order_id": "x", "geo": {"at": [1.5, 2.5]}, "placed": 1517966773840, "tags": [1, 2]}]

    def test_an_unknown_header_is_kept_as_text_and_named(self, read: Any) -> None:
        source = read.opened("a.csv", "order_id,Note\nx,7\n")
        assert values(list(source.records)) == [{"order_id": "x", "Note": "7"}]
        assert source.unknown == ["Note"]

    def test_byte_order_mark_crlf_quoted_newlines_and_blank_lines(self, read: Any) -> None:
        rows = read("a.csv", b'\xef\xbb\xbforder_id,quantity\r\n"a\r\n""b""",1\r\n\r\nc,2')
        assert values(rows) == [{"order_id": 'a\r\n"b"', "quantity": 1}, {"order_id": "c", "quantity": 2}]
        assert [r.position for r in rows] == ["line 2", "line 5"]

    @pytest.mark.parametrize(("name", "separator"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
    def test_other_delimiters(self, read: Any, name: str, separator: str) -> None:
        assert values(read(name, f"order_id{separator}quantity\nx{separator}1\n")) == [{"order_id": "x", "quantity": 1}]

    def test_a_row_of_another_width_is_a_fault_of_its_own(self, read: Any) -> None:
        rows = read("a.csv", "order_id,quantity\nx\ny,1\nz,1,2\n")
        assert [r.fault for r in rows] == [
            "has 1 cells where the header has 2",
            None,
            "has 3 cells where the header has 2",
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"order_id\ncaf\xe9\n", r"a\.csv, line 2: byte 0xe9 is not UTF-8"),
            (b'order_id,quantity\nx,1\n"y"z,1\n', r"a\.csv, line 3: not CSV"),
            (b'order_id,quantity\nx,1\n"y,1\nz,1\n', r"a\.csv, line 3: not CSV: unexpected end"),
            (b"order_id,Order Id\nx,y\n", r"a\.csv: headers 'order_id' and 'Order Id' both mean order_id"),
            (b"order_id,\nx,y\n", r"a\.csv: header 2 is empty"),
            (b"", r"a\.csv has no header"),
        ],
    )
    def test_what_is_no_csv_is_told_in_one_line(self, read: Any, content: bytes, message: str) -> None:
        with pytest.raises(SluiceError, match=message) as told:
            read("a.csv", content)
        assert "\n" not in str(told.value)

    def test_a_stream_without_a_contract_cannot_be_typed(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("a\n1\n")
        with pytest.raises(SluiceError, match="contract"):
            open_source(str(tmp_path / "a.csv"), None)


class TestJson:
    def test_elements_keep_their_bytes(self, read: Any) -> None:
        rows = read("a.json", b'\xef\xbb\xbf [ {"a" : 1.0} ,\n{"b":"\\u00e9"},3]')
        assert [r.payload for r in rows] == [b'{"a" : 1.0}', b'{"b":"\\u00e9"}', b"3"]
        assert rows[1].position == "record 2"

    def test_features_of_a_collection(self, read: Any) -> None:
        text = '{"type":"FeatureCollection","features":[{"type":"Feature","id":"a"}],"bbox":[1]}'
        for name in ("a.json", "a.geojson"):
            assert [r.payload for r in read(name, text)] == [b'{"type":"Feature","id":"a"}']

    def test_one_object_and_lines_in_a_json_file(self, read: Any) -> None:
        assert values(read("a.json", '{"a":\n 1}')) == [{"a": 1}]
        assert values(read("a.json", '{"a":1}\n{"a":2}\n')) == [{"a": 1}, {"a": 2}]

    def test_a_line_that_is_not_json_is_a_fault_of_its_own(self, read: Any) -> None:
        rows = read("a.ndjson", b'{"a":1}\r\n\n{"a":\n{"a":"\xff"}\n{"a":NaN}\n{"a":2}')
        assert [r.position for r in rows] == ["line 1", "line 3", "line 4", "line 5", "line 6"]
        assert [bool(r.fault) for r in rows] == [False, True, True, True, False]

    @pytest.mark.parametrize("content", ['[{"a":1},\n{"a":2},\n{"a" 3}]', '[{"a":1},\n\n{"a":2,}]'])
    def test_a_broken_array_is_told_with_its_line(self, read: Any, content: str) -> None:
        with pytest.raises(SluiceError, match=r"a\.json, line 3: JSON is malformed"):
            read("a.json", content)

    def test_an_array_that_ends_too_early(self, read: Any) -> None:
        with pytest.raises(SluiceError, match=r"a\.json, at its end: "):
            read("a.json", '[{"a":1},')

    def test_no_collection(self, read: Any) -> None:
        with pytest.raises(SluiceError, match="no GeoJSON FeatureCollection"):
            read("a.geojson", '{"type":"Feature"}')


class TestParquet:
    def write(self, path: Path) -> None:
        table = pa.table(
            {
                "order_id": ["a", "b", None],
                "Quantity": pa.array([1, None, 3], pa.int32()),
                "price": pa.array([Decimal("1.10"), Decimal("2.00"), None], pa.decimal128(10, 2)),
                "placed": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC")),
                "day": [date(2026, 1, 1)] * 3,
                "seen": pa.array([datetime(2026, 1, 1, 12)] * 3, pa.timestamp("ms")),
                "lon": [1.5, float("nan"), None],
            }
        )
        pq.write_table(table, path, row_group_size=2)

    def test_rows_with_types(self, tmp_path: Path) -> None:
        self.write(tmp_path / "a.parquet")
        source = open_source(str(tmp_path / "a.parquet"), SHOP)
        rows = list(source.records)
        first, second, third = values(rows)
        assert first == {
            "order_id": "a", "quantity": 1, "price": 1.1, "placed": 1767225600000, "day": "2026-01-01",
            "seen": "2026-01-01T12:00:00Z", "geo": {"at": [1.5]},
        }  # fmt: skip
        assert b'"price":1.10' in rows[0].payload
        assert "geo" not in second
        assert "order_id" not in third
        assert (source.total, source.unit, source.done(), source.unknown) == (3, "rows", 3, ["seen"])

    def test_from_standard_input(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write(tmp_path / "a")
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((tmp_path / "a").read_bytes())))
        source = open_source("-", SHOP)
        assert source.format == "parquet"
        assert len(list(source.records)) == 3

    def test_what_is_none(self, read: Any) -> None:
        with pytest.raises(SluiceError, match=r"a\.parquet is no Parquet file"):
            read("a.parquet", b"PAR1 not really")


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"PAR1\x15", "parquet"), (b' \n[{"a":1}]', "json"), (b'{"a":1}', "json"), (b'{"a":1}\n', "json"),
        (b'{"a":1}\n{"a":2}\n', "ndjson"), (b'{\n "a": 1\n}', "json"), (b'{"type": "FeatureCollection", ', "geojson"),
        (b"a,b\n1,2\n", "csv"), (b"\xef\xbb\xbfa,b\n", "csv"), (b"", "csv"),
    ],
)  # fmt: skip
def test_formats_are_told_by_the_first_bytes(head: bytes, form: str) -> None:
    assert sniff(head) == form


def test_gzip_is_seen_through(read: Any) -> None:
    assert values(read("a.ndjson.gz", gzip.compress(b'{"a":1}\n{"a":2}\n'))) == [{"a": 1}, {"a": 2}]


def test_a_truncated_gzip_is_told(read: Any) -> None:
    whole = gzip.compress(orjson.dumps([list(range(100_000))]) * 5)
    with pytest.raises(SluiceError, match=r"a\.ndjson"):
        read("a.ndjson.gz", whole[:-100])


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SluiceError, match=r"nowhere\.csv cannot be read: No such file"):
        open_source("nowhere.csv", SHOP)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="--format xlsx: expected one of csv"):
        open_source(str(tmp_path), SHOP, "xlsx")


def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    with path.open("wb") as out:
        for n in range(100_000):
            out.write(b'{"n":%d,"text":"%b"}\n' % (n, b"x" * 200))
    tracemalloc.start()
    source = open_source(str(path), None)
    count = sum(1 for _ in source.records)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (count, source.done()) == (100_000, path.stat().st_size)
    assert peak < 2 << 20


class TestIds:
    def test_a_file_gives_the_same_ids_each_time_and_equal_records_different_ones(self) -> None:
        payloads = [b'{"a":1}', b'{"a":2}', b'{"a":1}', b'{"a":1}']
        one, two = Fingerprints("orders"), Fingerprints("orders")
        ids = [one(p) for p in payloads]
        assert ids == [two(p) for p in payloads]
        assert len(set(ids)) == 4
        assert set(ids).isdisjoint(map(Fingerprints("users"), payloads))

    def test_ids_are_version_8_uuids(self) -> None:
        found = Fingerprints("orders")(b"{}")
        assert (found[14], found[19] in "89ab", len(found)) == ("8", True, 36)

    def test_many_records(self) -> None:
        give = Fingerprints("orders")
        assert len({give(b"%d" % (n % 20_000)) for n in range(30_000)}) == 30_000

    def test_an_id_out_of_the_payload(self) -> None:
        assert from_member(("a", 0))(b'{"a":["x"]}') == "x"
        assert from_member(("n",))(b'{"n":7}') == "7"
        for payload in (b"{}", b'{"n":null}', b'{"n":""}', b'{"n":true}', b'{"n":{}}', b"3"):
            with pytest.raises(ValueError, match="--id-from"):
                from_member(("n",))(payload)
        with pytest.raises(ValueError, match="longer than"):
            from_member(("n",))(orjson.dumps({"n": "x" * 201}))


def test_the_real_strikes_are_10000_records_with_ids_of_their_own() -> None:
    from catalog.odcs import load_contract

    stream = load_contract(Path(__file__).parents[2] / "catalog/contracts/wildlife_strikes.odcs.yaml")
    source = open_source(str(DATA / "birdstrikes.csv"), stream)
    records = list(source.records)
    give = Fingerprints(stream.name)
    assert len(records) == len({give(r.payload) for r in records}) == 10_000
    assert sum(n - 1 for n in Counter(r.payload for r in records).values()) == 24
    assert source.unknown == []
    assert json.loads(records[0].payload) == {
        "airport_name": "BARKSDALE AIR FORCE BASE ARPT", "aircraft_make_model": "T-38A",
        "damage": "None", "flight_date": "1990-01-08",
        "operator": "MILITARY", "origin_state": "Louisiana", "phase_of_flight": "Climb", "wildlife_size": "Large",
        "wildlife_species": "Turkey vulture", "time_of_day": "Day", "cost_other": 0, "cost_repair": 0, "cost_total": 0,
        "speed_ias_knots": 300,
    }  # fmt: skip
