"""The filters of Explore: a widget for each chosen column, made from its type and from the values that it has."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import streamlit as st

from ui import lake, queries
from ui.filters import NULL_LABEL, Between, Contains, Filter, OneOf
from ui.tables import Kind, TableColumn, TableInfo

FILTERABLE = (Kind.NUMBER, Kind.DATE, Kind.TIME, Kind.TEXT, Kind.BOOLEAN)
FEW = 50
EXACT = 2**53
IN_A_ROW = 3


def filters(table: TableInfo) -> list[Filter]:
    """The filters that are set. Only columns that are chosen cost a query for their values."""
    names = [column.name for column in table.of_kind(*FILTERABLE)]
    chosen = st.multiselect("Filter by", names, placeholder="choose columns", key=f"filter:{table.label}")
    found: list[Filter] = []
    places = st.columns(IN_A_ROW) if chosen else []
    for number, name in enumerate(chosen):
        with places[number % IN_A_ROW]:
            found.append(_filter(table, table.column(name)))
    return [one for one in found if one.condition() is not None]


def _filter(table: TableInfo, column: TableColumn) -> Filter:
    key = f"value:{table.label}:{column.name}"
    match column.kind:
        case Kind.NUMBER:
            return _number(table, column, key)
        case Kind.DATE | Kind.TIME:
            return _days(table, column, key)
        case Kind.BOOLEAN:
            chosen = st.multiselect(
                column.name, (True, False, None), format_func=_label, key=key, help=column.description or None
            )
            return OneOf(column, tuple(chosen))
        case _:
            return _text(table, column, key)


def _number(table: TableInfo, column: TableColumn, key: str) -> Filter:
    low, high = _bounds(table, column)
    if low is None or low == high or abs(low) > EXACT or abs(high) > EXACT or low != low or high - low == float("inf"):
        return OneOf(column, ()) if low is None else _same(column, low, high)
    whole = isinstance(low, int) and isinstance(high, int)
    kind = int if whole else float
    if whole:
        picked = st.slider(column.name, low, high, (low, high), key=key, help=column.description or None)
    else:
        picked = st.slider(
            column.name, kind(low), kind(high), (kind(low), kind(high)), key=key, help=column.description or None
        )
    # A side that was left at its end is open: what arrives beyond it later is not filtered away.
    return Between(column, picked[0] if picked[0] > kind(low) else None, picked[1] if picked[1] < kind(high) else None)


def _same(column: TableColumn, low: Any, high: Any) -> Filter:
    st.text_input(
        column.name, f"{low}" if low == high else f"{low} to {high}", disabled=True, help="No range to choose from."
    )
    return OneOf(column, ())


def _days(table: TableInfo, column: TableColumn, key: str) -> Filter:
    low, high = (value.date() if isinstance(value, datetime) else value for value in _bounds(table, column))
    if not isinstance(low, date) or not isinstance(high, date):
        st.text_input(column.name, "no values", disabled=True)
        return Between(column)
    picked = st.date_input(column.name, (low, high), min_value=low - timedelta(days=1), max_value=high + timedelta(days=366),
                           key=key, format="YYYY-MM-DD", help=column.description or None)  # fmt: skip
    days = picked if isinstance(picked, tuple) else (picked,)
    if len(days) < 2:
        return Between(column, days[0] if days else None)
    return Between(column, days[0] if days[0] > low else None, days[1] if days[1] < high else None)


def _text(table: TableInfo, column: TableColumn, key: str) -> Filter:
    statement = queries.choices(table, column)
    values = lake.slow(statement.sql, statement.values)
    if len(values) > FEW:
        return Contains(column, st.text_input(f"{column.name} contains", key=key, help=column.description or None))
    counts = {row["value"]: row["rows"] for row in values}
    chosen = st.multiselect(
        column.name, list(counts), format_func=lambda value: f"{_label(value)} ({counts[value]:,})", key=key,
        help=column.description or None, placeholder="all",
    )  # fmt: skip
    return OneOf(column, tuple(chosen))


def _bounds(table: TableInfo, column: TableColumn) -> tuple[Any, Any]:
    row = lake.slow(queries.bounds(table, column).sql)[0]
    return _plain(row["low"]), _plain(row["high"])


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _label(value: Any) -> str:
    return NULL_LABEL if value is None else str(value)
