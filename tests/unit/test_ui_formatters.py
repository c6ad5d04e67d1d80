"""Values as a person reads them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from ui import charts, formatters
from ui.overview import decoded, summary
from ui.services import lag


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (-3, "0.0 s"), (12, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert formatters.duration(timedelta(seconds=seconds)) == text


def test_nothing_yet_is_a_dash() -> None:
    assert formatters.duration(None) == formatters.number(None) == "–"
    assert formatters.since(None, datetime.now(UTC)) is None


def test_bytes_are_shown_as_text_where_they_are_text() -> None:
    assert formatters.binary("{“a”: 1}".encode()) == "{“a”: 1}"
    assert formatters.binary(b"\x00\xff") == "0x00ff"
    assert formatters.binary(b"a" * 5000).endswith("a…")


def test_a_frame_keeps_integers_and_decimals_exact() -> None:
    frame = formatters.frame(
        ["big", "money", "gap", "at", "nested"],
        [(2**62, Decimal("0.10"), None, datetime(2020, 1, 1, tzinfo=UTC), {"a": [1, None]}), (1, None, 3, None, None)],
    )
    assert frame["big"].tolist() == [2**62, 1]
    assert frame["gap"].dtype == "Int64"
    assert frame["money"][0] == Decimal("0.10")
    assert frame["nested"][0] == '{"a":[1,null]}'
    assert str(frame["at"].dtype).startswith("datetime64")


def test_an_empty_result_keeps_its_columns() -> None:
    assert list(formatters.frame(["a", "b"], []).columns) == ["a", "b"]


def test_csv_disarms_formulas_and_keeps_numbers() -> None:
    frame = formatters.frame(["text", "number", "day"], [("=1+1", -5, date(2020, 1, 1)), ("+44 1632 960123", 7, None)])
    assert formatters.csv(frame).decode().splitlines() == [
        "text,number,day", "'=1+1,-5,2020-01-01", "+44 1632 960123,7,",
    ]  # fmt: skip


def test_lag_is_what_the_topic_has_and_bronze_has_not() -> None:
    assert lag({0: 10, 1: 5}, {0: 7}) == 8
    assert lag({0: 10}, {0: 12}) == 0
    assert lag(None, {0: 1}) is None
    assert decoded('{"0":7,"1":3}') == {0: 7, 1: 3}
    assert decoded(None) == {}


def test_a_stream_without_rows_has_a_line_too() -> None:
    row = summary("orders", {}, None, None, [], datetime.now(UTC))
    assert (row["Bronze"], row["Silver"], row["Lag"], row["Newest event"]) == (0, 0, None, "–")


def test_minutes_without_events_are_drawn_as_zero() -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    figure = charts.rates(
        [
            {"stream": "a", "minute": at, "events": 2},
            {"stream": "a", "minute": at + timedelta(minutes=3), "events": 1},
            {"stream": "b", "minute": at, "events": 4},
        ],
        at,
        at + timedelta(minutes=5, seconds=10),
    )
    assert [(line.name, list(line.y)) for line in figure.data] == [
        ("a", [2, 0, 0, 1, 0]), ("b", [4, 0, 0, 0, 0]),
    ]  # fmt: skip


def test_a_map_needs_both_coordinates() -> None:
    assert charts.coordinates(["id", "longitude", "latitude"]) == ("latitude", "longitude")
    assert charts.coordinates(["lat"]) is None
