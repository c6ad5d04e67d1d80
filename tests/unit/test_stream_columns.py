"""Values of payloads → typed columns: each type, alone and beside a value that fits no column at once."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from catalog.contract import Column
from catalog.formats import parsed_format
from catalog.odcs_words import ContractError
from stream_jobs.columns import ColumnConverter, Typed, timestamps
from stream_jobs.payloads import PayloadReader
from stream_jobs.types import UTC_TIMESTAMP, arrow_type
from tests.batches import column, stream

NO = object()  # a value that is none of the column's type


def typed(of: Column, *values: str) -> Typed:
    """The column of payloads that have these JSON texts as its values."""
    payloads = [b'{"v":%b}' % value.encode() for value in values]
    found = PayloadReader(stream(of))(pa.chunked_array([pa.array(payloads, pa.binary())]))
    return ColumnConverter(of)(found.values[0])


def utc(*of: int) -> datetime:
    return datetime(*of, tzinfo=UTC)  # type: ignore[misc,arg-type]


LINES = column("i", "object", fields=(column("n", "integer"), column("at", "timestamp"), column("raw", "array")))
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"kind": "string"}, {'"a"': "a", "5": "5", "true": "true", '""': "", '"\\u0000"': "\0", "null": None}),
    ({"kind": "integer"}, {"5": 5, "5.0": 5, '"5"': 5, "5e3": 5000, "5.5": NO, "true": NO, '"x"': NO, "[]": NO, str(2**63): NO,
    "1e9999": NO}),
    ({"kind": "integer", "physical_type": "int"}, {str(2**31 - 1): 2**31 - 1, str(2**31): NO}),
    ({"kind": "integer", "format": "u8"}, {"255": 255, "256": NO, "-1": NO, "-0": 0}),
    ({"kind": "number"}, {"1": 1.0, "1e-3": 0.001, '" 2.5 "': 2.5, "1e999": NO, '"NaN"': NO, '"1d"': NO, "true": NO,
    "9" * 400: NO}),
    ({"kind": "number", "physical_type": "float"}, {"0.5": 0.5, "1e39": NO, "-1e39": NO, "1e38": 9.999999680285692e37}),
    ({"kind": "number", "physical_type": "decimal(5,2)"},
     {"1.5": Decimal("1.50"), '"-1.50"': Decimal("-1.50"), "999.99": Decimal("999.99"), "1000": NO, "0.005": NO,
     "1e2": Decimal(100),
      "1.50000000000000000000000000000000000000000000000": Decimal("1.50"), "0e99999": NO, "0e9999": Decimal(0),
      "1e999999": NO, '"1_0"': NO,
      '"NaN"': NO, '"sNaN"': NO, '"Infinity"': NO, "true": NO, "[1]": NO, '"٣"': NO, "0.1000000000000000055": NO, "null": None,
      '"null"': NO}),
    ({"kind": "number", "physical_type": "decimal(38,10)"},
     {"1234567890123456789012345678.0123456789": Decimal("1234567890123456789012345678.0123456789"), "1e28": NO}),
    ({"kind": "boolean"}, {"true": True, '"FALSE"': False, "1": NO, '"yes"': NO}),
    ({"kind": "date"}, {'"2026-02-28"': date(2026, 2, 28), '"0001-01-01"': date.min, '"9999-12-31"': date.max,
    '"2026-02-29"': NO, '"0000-01-01"': NO,
     '"20260228"': NO, '"2026-02-28T00:00:00Z"': NO, "20260228": NO, '"٢٠٢٦-02-28"': NO, '"2026-02-28\\n"': NO}),
    ({"kind": "timestamp"},
     {'"2026-01-02T03:04:05Z"': utc(2026, 1, 2, 3, 4, 5), '"2026-01-02t03:04:05.1234567z"': utc(2026, 1, 2, 3, 4, 5, 123456),
      '"2026-01-02 03:04:05+0530"': utc(2026, 1, 1, 21, 34, 5), '"2026-01-02T03:04"': utc(2026, 1, 2, 3, 4),
      '"2026-01-02"': NO, '"x"': NO,
      '"0001-01-01T00:00:00Z"': utc(1, 1, 1), '"0001-01-01T00:00:00+00:01"': NO, '"0000-12-31T23:00:00-02:00"': NO,
      '"9999-12-31T23:59:59.999999Z"': utc(9999, 12, 31, 23, 59, 59, 999999), '"9999-12-31T23:59:59-00:01"': NO,
      '"2026-01-02T24:00:00Z"': NO,
      '"2016-12-31T23:59:60Z"': utc(2017, 1, 1), '"2016-12-31T12:30:60Z"': NO, '"2017-01-01T01:59:60.25+02:00"': utc(2017, 1,
      1, 0, 0, 0, 250000),
      '"9999-12-31T23:59:60Z"': NO, '"2026-01-02T03:04:05+24:00"': NO, '"2026-01-02T03:04:05Z\\n"': NO, "1767322800": NO}),
    ({"kind": "timestamp", "encoding": "epoch-millis"},
     {"0": utc(1970, 1, 1), "-1": utc(1969, 12, 31, 23, 59, 59, 999000), '"1000"': utc(1970, 1, 1, 0, 0, 1), "1.5": utc(1970,
     1, 1, 0, 0, 0, 1500),
      "-0.0005": utc(1969, 12, 31, 23, 59, 59, 999999), "253402300799999": utc(9999, 12, 31, 23, 59, 59, 999000),
      "253402300800000": NO,
      "-62135596800000": utc(1, 1, 1), "-62135596800001": NO, str(2**63 - 1): NO, '"NaN"': NO, '"2026-01-01T00:00:00Z"': NO}),
    ({"kind": "timestamp", "encoding": "epoch-seconds"},
     {"1.5": utc(1970, 1, 1, 0, 0, 1, 500000), "1.00000099": utc(1970, 1, 1, 0, 0, 1), '"2"': utc(1970, 1, 1, 0, 0, 2),
     "null": None, '"NaN"': NO,
      "253402300799.99999999999999999999999999999999999": utc(9999, 12, 31, 23, 59, 59, 999999), "253402300800": NO,
      "1e999999": NO, "-1e12": NO,
      '"1_0"': NO, "[]": NO}),
    ({"kind": "time"}, {'"23:59"': "23:59", '"23:59:60.5z"': "23:59:60.5z", '"24:00"': NO, '"10:00\\n"': NO, '"٢٣:59"': NO,
    "10": NO}),
    ({"kind": "time", "format": "HH.mm"}, {'"10.30"': "10.30", '"1.30"': NO, '"10:30"': NO}),
    ({"kind": "date", "format": "dd.MM.yyyy"}, {'"01.02.2026"': date(2026, 2, 1), '"1.2.2026"': NO, '"2026-02-01"': NO,
    '"30.02.2026"': NO}),
    ({"kind": "date", "format": "d/M/yy"}, {'"1/2/26"': date(2026, 2, 1), '"29/2/96"': date(2096, 2, 29), '"1/2/2026"': NO}),
    ({"kind": "date", "format": "ddMMyyyy"}, {'"01122026"': date(2026, 12, 1), '"1122026"': NO, '"٠1122026"': NO}),
    ({"kind": "date", "format": "yyyy-MM-ddXXX"}, {'"2026-01-01+05:00"': date(2026, 1, 1)}),
    ({"kind": "timestamp", "format": "MMM d, yyyy h:mm a"}, {'"Jan 2, 2026 3:04 pm"': utc(2026, 1, 2, 15, 4),
    '"Jan  2, 2026 3:04 pm"': NO}),
    ({"kind": "timestamp", "format": "yyyy-MM-dd'T'HH:mm:ss.SSSX"},
     {'"2026-01-02T03:04:05.250+02:00"': utc(2026, 1, 2, 1, 4, 5, 250000), '"2026-01-02T03:04:05.25Z"': NO,
     '"0001-01-01T00:00:00.000+02:00"': NO}),
    ({"kind": "object"}, {'{"a": 1}': '{"a": 1}', '"{\\"a\\":1}"': '{"a":1}', "[]": NO, "5": NO, '"{"': NO, "null": None,
    '"null"': NO,
     '"' + "{'a':" * 3 + '"': NO, '"{\\"a\\":' + "[" * 5000 + '"': NO}),
    ({"kind": "array"}, {"[1, null]": "[1, null]", "{}": NO, '"[]"': "[]", '" [] x"': NO}),
    ({"kind": "array", "items": column("i", "integer")}, {"[1,2.0,null,\"3\"]": [1, 2, None, 3], "[]": [], "[1.5]": NO,
    "{}": NO, '"[1]"': [1]}),
    ({"kind": "array", "items": column("i", "number", physical_type="decimal(5,1)")}, {"[0.5,null]": [Decimal("0.5"), None],
    "[0.55]": NO}),
    ({"kind": "array", "items": column("i", "date")}, {'["2026-01-01",null]': [date(2026, 1, 1), None], '["2026-02-30"]': NO}),
    ({"kind": "array", "items": column("i", "object")}, {'[{"a":[1]},null]': ['{"a":[1]}', None], "[1]": NO}),
    ({"kind": "array", "items": LINES},
     {'[{"n":1.0,"at":"2026-01-01T00:00:00Z","raw":[1],"x":2},null,{}]':
      [{"n": 1, "at": utc(2026, 1, 1), "raw": "[1]"}, None, {"n": None, "at": None, "raw": None}], '[{"at":"x"}]': NO,
      "[[]]": NO}),
    ({"kind": "object", "fields": (column("class"), column("in", "object", fields=(column("d", "date"),)))},
     {'{"class":"a","in":{"d":"2026-01-01"}}': {"class": "a", "in": {"d": date(2026, 1, 1)}}, '{"in":null}': {"class": None,
     "in": None},
      '{"in":{"d":"0000-01-01"}}': NO, "[]": NO, "null": None}),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "cases"), CASES, ids=[f"{facts['kind']}-{n}" for n, (facts, _) in enumerate(CASES)])
def test_each_type(facts: dict[str, Any], cases: dict[str, Any]) -> None:
    of = column("v", **facts)
    expected = [None if value is NO else value for value in cases.values()]
    together = typed(of, *cases)
    assert together.array.to_pylist() == expected
    assert together.array.type == arrow_type(of)
    assert together.misfits == {n for n, value in enumerate(cases.values()) if value is NO}
    for text, value in cases.items():
        alone = typed(of, text)
        assert (alone.array.to_pylist(), bool(alone.misfits)) == ([None if value is NO else value], value is NO), text
    good = [(text, value) for text, value in cases.items() if value is not NO]
    assert typed(of, *(text for text, _ in good)) == Typed(pa.array([v for _, v in good], arrow_type(of)), frozenset())


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("yyyy-QQ", "QQ"), ("yyyy-MM-ddTHH:mm", "T"), ("yyyy[-MM]", r"\["), ("yyyy'", "'"), ("yyyy{", "{"), ("MM-dd",
        "no year"), ("yyyy hh:mm", "half a day"),
        ("YYYY-MM-dd", "YYYY"), ("yyyy VV", "VV"), ("", "no year"),
    ],
)  # fmt: skip
def test_a_format_that_cannot_be_read_is_told(pattern: str, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        parsed_format(pattern, "v")


def test_words_in_a_format_stand_for_themselves() -> None:
    assert parsed_format("'o''clock' ''%. yyyy", "v").read("o'clock '%. 2026").year == 2026


def test_times_of_headers_are_read_or_null() -> None:
    texts = ["2026-01-01T00:00:00Z", None, "x", "9999-12-31T23:59:59-10:00", "2026-01-01t00:00:00.1234567+01:00", ""]
    expected = [utc(2026, 1, 1), None, None, None, utc(2025, 12, 31, 23, 0, 0, 123456), None]
    assert timestamps(pa.array(texts)).to_pylist() == expected
    assert [timestamps(pa.array([text], pa.string())).to_pylist()[0] for text in texts] == expected
    assert timestamps(pa.array([], pa.string())).type == UTC_TIMESTAMP
