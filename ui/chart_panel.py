"""The chart of Explore. Bars and lines are counted in Trino over every row that matches; points are the rows fetched."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ui import charts, lake, queries, strings
from ui.filters import Filter
from ui.tables import Kind, TableInfo

UNITS = ("minute", "hour", "day", "month", "year")
GROUPABLE = (Kind.TEXT, Kind.BOOLEAN, Kind.DATE, Kind.TIME, Kind.NUMBER)


def chart(table: TableInfo, filters: Sequence[Filter], answer: lake.Answer) -> None:
    """Controls and chart."""
    place = charts.coordinates([column.name for column in table.of_kind(Kind.NUMBER)])
    kinds = ["none", "bar", "line", "scatter", *(["map"] if place else [])]
    first, *controls = st.columns(4)
    default = "map" if place else ("bar" if table.schema == "gold" else "none")
    kind = first.selectbox("Chart", kinds, index=kinds.index(default), key=f"chart:{table.label}")
    if kind == "none":
        return
    if kind in ("bar", "line"):
        figure, note = _grouped(table, filters, kind, controls)
    else:
        figure, note = _points(table, answer, kind, place, controls)
    if figure is not None:
        st.plotly_chart(figure, config=charts.CONFIG, width="stretch", key=f"figure:{table.label}")
    st.caption(note)


def _grouped(
    table: TableInfo, filters: Sequence[Filter], kind: str, controls: Sequence[object]
) -> tuple[go.Figure | None, str]:
    names = [column.name for column in table.of_kind(*GROUPABLE)]
    numbers = [column.name for column in table.of_kind(Kind.NUMBER)]
    if not names:
        return None, strings.NO_NUMBERS
    with controls[0]:  # type: ignore[attr-defined]
        x = table.column(
            st.selectbox("by", names, index=_first_group(table, names, kind), key=f"x:{table.label}:{kind}")
        )
        unit = None
        if x.kind in (Kind.TIME, Kind.DATE):
            units = UNITS if x.kind is Kind.TIME else UNITS[2:]
            unit = st.selectbox("in steps of a", units, index=units.index("day"), key=f"unit:{table.label}:{kind}")
    with controls[1]:  # type: ignore[attr-defined]
        ready = table.schema == "gold" and bool(numbers)
        aggregate = st.selectbox("Value", queries.AGGREGATES, index=1 if ready else 0, key=f"agg:{table.label}:{kind}",
                                 format_func=lambda word: "rows" if word == "count" else word)  # fmt: skip
        y = None
        if aggregate != "count" and numbers:
            y = table.column(st.selectbox("of", numbers, index=_first_measure(numbers), key=f"y:{table.label}:{kind}"))
    with controls[2]:  # type: ignore[attr-defined]
        texts = [column.name for column in table.of_kind(Kind.TEXT, Kind.BOOLEAN) if column.name != x.name]
        color_name = st.selectbox("Colour", texts, index=None, placeholder="none", key=f"color:{table.label}:{kind}")
        color = table.column(color_name) if color_name else None
    statement = queries.grouped(table, filters, x=x, aggregate=aggregate, y=y, color=color, unit=unit,
                                largest_first=kind == "bar" and x.kind is Kind.TEXT)  # fmt: skip
    answer = lake.ask(statement, queries.MOST_GROUPS)
    label = f"{aggregate} of {y.name}" if y else "rows"
    draw = charts.bar if kind == "bar" else charts.line
    note = strings.CHART_ROWS
    if answer.truncated:
        note += " " + strings.CHART_GROUPS.format(groups=queries.MOST_GROUPS)
    return draw(_numeric(answer.frame), x=x.name, y=label, color=color.name if color else None), note


def _points(
    table: TableInfo, answer: lake.Answer, kind: str, place: tuple[str, str] | None, controls: Sequence[object]
) -> tuple[go.Figure | None, str]:
    frame = answer.frame.copy()
    numbers = [column.name for column in table.of_kind(Kind.NUMBER)]
    for name in numbers:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(float)
    colors = [column.name for column in table.of_kind(Kind.NUMBER, Kind.TEXT, Kind.BOOLEAN)]
    note = strings.CHART_CUT.format(rows=f"{len(frame):,}")
    with controls[2]:  # type: ignore[attr-defined]
        magnitude = next((name for name in ("mag", "magnitude") if name in colors), None)
        color = st.selectbox("Colour", colors, index=colors.index(magnitude) if magnitude else None, placeholder="none",
                             key=f"color:{table.label}:{kind}")  # fmt: skip
    if kind == "map" and place:
        hover = next((name for name in ("title", "place", "name", "id") if name in frame.columns), None)
        return charts.world(frame, latitude=place[0], longitude=place[1], color=color, hover=hover), note
    across = [column.name for column in table.of_kind(Kind.NUMBER, Kind.DATE, Kind.TIME)]
    if not numbers or not across:
        return None, strings.NO_NUMBERS
    with controls[0]:  # type: ignore[attr-defined]
        x = st.selectbox("across", across, key=f"x:{table.label}:{kind}")
    with controls[1]:  # type: ignore[attr-defined]
        y = st.selectbox("up", numbers, index=min(1, len(numbers) - 1), key=f"y:{table.label}:{kind}")
    return charts.scatter(frame, x=x, y=y, color=color), note


def _numeric(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(value=pd.to_numeric(frame["value"], errors="coerce").astype(float))
    for name in ("x", "color"):
        if name in frame and frame[name].dtype == object:
            frame[name] = frame[name].map(lambda value: "(empty)" if value is None else value)
    return frame


def _first_group(table: TableInfo, names: Sequence[str], kind: str) -> int:
    wanted = (Kind.TIME, Kind.DATE) if kind == "line" else (Kind.TEXT, Kind.DATE, Kind.TIME)
    for want in wanted:
        for place, name in enumerate(names):
            if table.column(name).kind is want and not name.startswith("_"):
                return place
    return 0


def _first_measure(numbers: Sequence[str]) -> int:
    usual = ("strikes", "earthquakes", "revenue", "users")
    return next((place for place, name in enumerate(numbers) if name in usual), 0)
