"""Overview: every stream from the broker to gold, live."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from catalog.names import BRONZE, GOLD, QUARANTINE, SILVER
from catalog.query import QueryFailedError
from ui import charts, formatters, lake, notices, queries, services, strings
from ui.tables import TableInfo

EVERY = "5s"
WINDOW = timedelta(minutes=30)
# Each state has a word and an icon of its own: colour alone tells some people nothing.
STATES = {
    "ok": ":green-badge[:material/check_circle: ok]",
    "degraded": ":orange-badge[:material/warning: degraded]",
    "away": ":red-badge[:material/cancel: away]",
    "unknown": ":gray-badge[:material/help: unknown]",
}


def page() -> None:
    """The page; what is live on it is drawn again every 5 s."""
    # What is on the page stays readable while the next figures are fetched.
    st.html("<style>[data-stale=true] { opacity: 1 !important; }</style>")
    st.title(strings.OVERVIEW)
    st.caption(strings.OVERVIEW_INTRO)
    _live()


@st.fragment(run_every=EVERY)
def _live() -> None:
    with notices.friendly():
        known = lake.tables()
        if known:
            _lake(known)
        else:
            notices.no_tables()
    _services()
    st.caption(f"As of {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, again every 5 seconds.")


def _lake(known: Mapping[str, TableInfo]) -> None:
    now = datetime.now(UTC)
    bronze, silver = lake.of_layer(known, BRONZE), lake.of_layer(known, SILVER)
    totals = lake.totals(known)
    newest = {row["stream"]: row["newest"] for row in lake.live(queries.freshness(silver).sql)}
    # The minute is part of the statement, so that it is the same for all sessions for a while.
    since = now.replace(second=0, microsecond=0) - WINDOW
    recent = lake.live(*_text(queries.rates(bronze, since)))
    ends = services.topic_ends(lake.settings(), tuple(totals))
    rows = [
        summary(
            stream, totals[stream], ends.ends.get(stream) if not ends.reason else None, newest.get(stream), recent, now
        )
        for stream in sorted(totals)
    ]
    _figures(rows)
    if rows:
        _streams(rows)
    if ends.reason:
        st.caption(notices.plain(strings.LAG_UNKNOWN.format(reason=ends.reason)))
    st.subheader(strings.RATE_TITLE)
    if recent:
        st.plotly_chart(charts.rates(recent, since, now), config=charts.CONFIG, width="stretch", key="rates")
    else:
        st.info(strings.RATE_EMPTY, icon=":material/hourglass_empty:")
    _gold(known)


def summary(
    stream: str, layers: Mapping[str, Mapping[str, Any]], ends: dict[int, int] | None, newest: datetime | None,
    recent: list[dict[str, Any]], now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """One line of the table of streams."""
    bronze = layers.get(BRONZE)
    offsets = decoded(bronze["offsets"]) if bronze else None
    return {
        "Stream": stream,
        "Topic": sum(ends.values()) if ends is not None else None,
        "Bronze": (bronze["total"] or 0) if bronze else 0,
        "Silver": (layers[SILVER]["total"] or 0) if SILVER in layers else 0,
        "Quarantine": (layers[QUARANTINE]["total"] or 0) if QUARANTINE in layers else 0,
        "Lag": services.lag(ends, offsets),
        "Newest event": formatters.duration(formatters.since(newest, now)),
        "Last 30 min": sum(row["events"] for row in recent if row["stream"] == stream),
    }


def decoded(offsets: str | None) -> dict[int, int]:
    """Offsets from a snapshot's summary: partition → next offset."""
    return {int(partition): int(offset) for partition, offset in json.loads(offsets or "{}").items()}


def _figures(rows: list[dict[str, Any]]) -> None:
    minutes = WINDOW.total_seconds() / 60
    lags = [row["Lag"] for row in rows if row["Lag"] is not None]
    first, second, third, fourth, fifth = st.columns(5)
    first.metric("Events in bronze", formatters.number(sum(row["Bronze"] for row in rows)), border=True)
    second.metric("Rows in silver", formatters.number(sum(row["Silver"] for row in rows)), border=True)
    third.metric("In quarantine", formatters.number(sum(row["Quarantine"] for row in rows)), border=True)
    fourth.metric("Events per minute", formatters.number(sum(row["Last 30 min"] for row in rows) / minutes), border=True,
                  help="Mean of the last 30 minutes.")  # fmt: skip
    fifth.metric("Lag", formatters.number(sum(lags)) if lags else "–", border=True, help=strings.COLUMN_HELP["Lag"])


def _streams(rows: list[dict[str, Any]]) -> None:
    st.subheader("Streams")
    table = pd.DataFrame(rows)
    table = table.drop(columns=[name for name in ("Topic", "Lag") if table[name].isna().all()])
    config = {
        name: st.column_config.NumberColumn(help=text, format="localized")
        if name != "Newest event"
        else st.column_config.TextColumn(help=text)
        for name, text in strings.COLUMN_HELP.items()
    }
    st.dataframe(table, hide_index=True, width="stretch", column_config=config)


def _gold(known: Mapping[str, TableInfo]) -> None:
    models = [table for table in known.values() if table.schema == GOLD]
    if not models:
        return
    st.subheader("Gold models")
    table = pd.DataFrame(
        [{"Model": model.name, "Rows": _count(model), "What it shows": model.description} for model in models]
    )
    st.dataframe(table, hide_index=True, width="stretch",
                 column_config={"What it shows": st.column_config.TextColumn(width="large"),
                                "Rows": st.column_config.NumberColumn(format="localized", width="small")})  # fmt: skip


def _count(model: TableInfo) -> int | None:
    try:
        return int(lake.slow(queries.row_count(model).sql)[0]["total"])
    except QueryFailedError:
        return None  # a view whose stream is gone: no reason to hide the others


def _services() -> None:
    st.subheader("Services")
    settings = lake.settings()
    found = services.health(settings, settings.trino_url)
    for column, part in zip(st.columns(len(found)), found, strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"**{part.name}**")
            st.markdown(STATES[part.state], help=f"{notices.plain(part.detail)} ({part.milliseconds:.0f} ms)")
            if part.state != "ok":
                st.caption(notices.plain(part.detail))


def _text(statement: queries.Statement) -> tuple[str, tuple[Any, ...]]:
    return statement.sql, statement.values
