"""Charts as plotly figures. Colours are told apart by people who see red and green alike (Okabe and Ito's palette)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

PALETTE = ["#0b6e75", "#d55e00", "#0072b2", "#b8860b", "#aa4499", "#56b4e9", "#5b5b5b", "#009e73"]
INK, GRID = "#14282b", "#d9e3e4"
# Served by the explorer itself: a map needs no server on the internet.
CONFIG = {
    "displaylogo": False,
    "topojsonURL": "/app/static/",
    "modeBarButtonsToRemove": ["sendDataToCloud", "lasso2d", "select2d"],
}
LATITUDES, LONGITUDES = ("latitude", "lat"), ("longitude", "lon", "lng")


def rates(rows: Sequence[dict[str, Any]], first: datetime, last: datetime) -> go.Figure:
    """Events per minute from `first` to `last`, one line for each stream; minutes without an event are zero."""
    table = pd.DataFrame(rows, columns=["stream", "minute", "events"])
    wide = table.pivot_table(index="minute", columns="stream", values="events", aggfunc="sum")
    # The minute that has just begun would look like a drop.
    minutes = pd.date_range(first.replace(second=0, microsecond=0), last, freq="min", inclusive="left")[:-1]
    wide = wide.reindex(minutes, fill_value=0).fillna(0)
    figure = go.Figure()
    for place, name in enumerate(sorted(wide.columns)):
        figure.add_scatter(
            x=wide.index,
            y=wide[name],
            name=name,
            mode="lines+markers",
            line={"color": PALETTE[place % len(PALETTE)], "width": 2},
            marker={"size": 4},
            hovertemplate="%{y:,} events<extra>" + name + "</extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_yaxes(rangemode="tozero", title="events per minute")
    figure.update_xaxes(title="time (UTC)")
    return dressed(figure, height=300)


def bar(table: pd.DataFrame, *, x: str, y: str, color: str | None = None) -> go.Figure:
    """Bars for columns x, value and, where there is one, color."""
    figure = px.bar(table, x="x", y="value", color="color" if color else None, color_discrete_sequence=PALETTE)
    return _labelled(figure, x, y, color)


def line(table: pd.DataFrame, *, x: str, y: str, color: str | None = None) -> go.Figure:
    """Lines through the points of columns x, value and, where there is one, color."""
    figure = px.line(
        table.sort_values("x"),
        x="x",
        y="value",
        color="color" if color else None,
        markers=len(table) < 100,
        color_discrete_sequence=PALETTE,
    )
    return _labelled(figure, x, y, color)


def scatter(table: pd.DataFrame, *, x: str, y: str, color: str | None = None) -> go.Figure:
    """A point for each row."""
    figure = px.scatter(
        table, x=x, y=y, color=color, opacity=0.7, color_discrete_sequence=PALETTE, color_continuous_scale="Viridis"
    )
    return _labelled(figure, x, y, color)


def world(
    table: pd.DataFrame, *, latitude: str, longitude: str, color: str | None = None, hover: str | None = None
) -> go.Figure:
    """A point on the world for each row, over coastlines that come with the explorer."""
    figure = px.scatter_geo(
        table,
        lat=latitude,
        lon=longitude,
        color=color,
        hover_name=hover,
        opacity=0.75,
        color_discrete_sequence=PALETTE,
        color_continuous_scale="Viridis",
    )
    figure.update_geos(
        projection_type="natural earth",
        showland=True,
        landcolor="#e8efe9",
        showocean=True,
        oceancolor="#f4f8fa",
        showcountries=True,
        countrycolor="#b7c6c8",
        coastlinecolor="#8aa0a3",
        lataxis_showgrid=True,
        lonaxis_showgrid=True,
        lataxis_gridcolor=GRID,
        lonaxis_gridcolor=GRID,
    )
    figure.update_traces(marker={"size": 6, "line": {"width": 0}})
    return dressed(figure, height=480)


def coordinates(names: Sequence[str]) -> tuple[str, str] | None:
    """(latitude, longitude) among the column names, if both are there."""
    latitude = next((name for name in names if name.lower() in LATITUDES), None)
    longitude = next((name for name in names if name.lower() in LONGITUDES), None)
    return (latitude, longitude) if latitude and longitude else None


def dressed(figure: go.Figure, height: int = 380) -> go.Figure:
    """The explorer's look."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        font={"color": INK, "size": 13},
        legend={"orientation": "h", "y": 1.08, "x": 0, "title": None},
        hoverlabel={"bgcolor": "white"},
    )
    figure.update_xaxes(gridcolor=GRID, automargin=True)
    figure.update_yaxes(gridcolor=GRID, automargin=True)
    return figure


def _labelled(figure: go.Figure, x: str, y: str, color: str | None) -> go.Figure:
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    figure.update_layout(legend_title=color, coloraxis_colorbar_title=color)
    return dressed(figure)
