"""SQL: an editor, the result as table and chart, the statements of this session, and what tables and columns there are."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from catalog.errors import SluiceError
from ui import charts, formatters, lake, notices, strings
from ui.queries import Statement
from ui.readonly import refusal
from ui.tables import TableInfo

MOST_ROWS = 10_000
MOST_HISTORY = 50
EDITOR, HISTORY, SHOWN = "sql:text", "sql:history", "sql:answer"


@dataclass(frozen=True)
class Run:
    """A statement of this session and what became of it."""

    at: datetime
    sql: str
    outcome: str


def page() -> None:
    """The page."""
    st.title(strings.SQL)
    st.caption(strings.SQL_INTRO)
    editor, browser = st.columns([3, 1], gap="large")
    with browser:
        _browser()
    with editor:
        _editor()
        _answer()
        _history()


def _editor() -> None:
    st.session_state.setdefault(EDITOR, strings.SQL_EXAMPLE)
    with st.form("sql", border=False):
        st.text_area("Statement", key=EDITOR, height=200, help="Ctrl+Enter runs it.")
        if st.form_submit_button("Run", type="primary", icon=":material/play_arrow:"):
            _run(str(st.session_state[EDITOR]))


def _run(sql: str) -> None:
    st.session_state.pop(SHOWN, None)
    reason = refusal(sql)
    if reason:
        _remember(sql, "refused")
        st.error(reason, icon=":material/lock:")
        return
    try:
        with st.spinner("Asking Trino…"):
            answer = lake.ask(Statement(sql), MOST_ROWS)
    except SluiceError as failure:
        _remember(sql, "failed")
        notices.show(failure)
        return
    rows = formatters.number(len(answer.frame)) + ("+" if answer.truncated else "")
    _remember(sql, f"{rows} rows, {answer.seconds:.2f} s")
    st.session_state[SHOWN] = answer


def _answer() -> None:
    answer: lake.Answer | None = st.session_state.get(SHOWN)
    if answer is None:
        return
    count = formatters.number(len(answer.frame))
    said = f"First {count} rows; there are more." if answer.truncated else f"{count} rows."
    st.caption(f"{said} {answer.seconds:.2f} s.")
    if answer.frame.empty:
        st.info("The statement has no rows to show.", icon=":material/search_off:")
        return
    table, chart = st.tabs(["Table", "Chart"])
    with table:
        st.dataframe(answer.frame, hide_index=True, width="stretch")
        st.download_button("Download CSV", formatters.csv(answer.frame), "result.csv", "text/csv", icon=":material/download:",
                           on_click="ignore")  # fmt: skip
    with chart:
        _chart(answer)


def _chart(answer: lake.Answer) -> None:
    numbers = [
        c.name
        for c in answer.columns
        if c.type.startswith(("tinyint", "smallint", "int", "bigint", "real", "double", "decimal"))
    ]
    names = [column.name for column in answer.columns]
    if not numbers:
        st.info("A chart needs a column of numbers.", icon=":material/show_chart:")
        return
    first, second, third = st.columns(3)
    kind = first.selectbox("Chart", ("bar", "line", "scatter"), key="sql:chart")
    others = [name for name in names if name not in numbers] or names
    x = second.selectbox("across", names, index=names.index(others[0]), key="sql:x")
    y = third.selectbox("up", numbers, key="sql:y")
    frame = pd.DataFrame({"x": answer.frame[x], "value": pd.to_numeric(answer.frame[y], errors="coerce").astype(float)})
    if kind == "scatter":
        figure = charts.scatter(
            frame.rename(columns={"x": x, "value": y}) if x != y else frame,
            x=x if x != y else "x",
            y=y if x != y else "value",
        )
    else:
        figure = (charts.bar if kind == "bar" else charts.line)(frame, x=x, y=y)
    st.plotly_chart(figure, config=charts.CONFIG, width="stretch", key="sql:figure")


def _history() -> None:
    runs: list[Run] = st.session_state.get(HISTORY, [])
    if not runs:
        return
    with st.expander(f"History of this session ({len(runs)})", icon=":material/history:"):
        for number, run in enumerate(reversed(runs)):
            st.caption(f"{run.at:%H:%M:%S} UTC · {run.outcome}")
            st.code(run.sql, language="sql")
            st.button("Use again", key=f"again:{len(runs) - number}", on_click=_use, args=(run.sql,))


def _use(sql: str) -> None:
    st.session_state[EDITOR] = sql


def _remember(sql: str, outcome: str) -> None:
    runs = st.session_state.setdefault(HISTORY, [])
    runs.append(Run(datetime.now(UTC), sql, outcome))
    del runs[:-MOST_HISTORY]


def _browser() -> None:
    st.subheader("Tables")
    with notices.friendly():
        known = lake.tables()
        if not known:
            notices.no_tables()
        words = st.text_input("Find a table or column", placeholder="name") if known else ""
        for table in known.values():
            if _matches(table, words):
                _entry(table)


def _matches(table: TableInfo, words: str) -> bool:
    wanted = words.strip().lower()
    return not wanted or wanted in table.label.lower() or any(wanted in column.name.lower() for column in table.columns)


def _entry(table: TableInfo) -> None:
    with st.expander(table.label):
        st.button("Select from it", key=f"from:{table.label}", on_click=_use, args=(_starter(table),))
        st.markdown("\n".join(f"- `{column.name}` {column.type}" for column in table.columns))


def _starter(table: TableInfo) -> str:
    return f"select *\nfrom {table.label}\nlimit 100"
