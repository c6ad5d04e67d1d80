"""Explore: one table with filters, a chart, its rows, and the SQL behind them."""

import streamlit as st

from ui import chart_panel, filter_panel, formatters, lake, notices, queries, strings
from ui.queries import Statement
from ui.tables import PAYLOAD, Kind, TableInfo

LIMITS = (100, 1000, 10_000, 50_000)
SORTABLE = (Kind.NUMBER, Kind.DATE, Kind.TIME, Kind.TEXT, Kind.BOOLEAN)


def page() -> None:
    """The page."""
    st.title(strings.EXPLORE)
    with notices.friendly():
        known = lake.tables()
        if known:
            _table(known[_choice(known)])
        else:
            notices.no_tables()


def _choice(known: dict[str, TableInfo]) -> str:
    labels = list(known)
    asked = st.query_params.get("table")
    chosen = st.selectbox(
        "Table", labels, index=labels.index(asked) if asked in labels else 0, help="schema.table; gold first."
    )
    st.query_params["table"] = chosen  # the address can be shared
    return str(chosen)


def _table(table: TableInfo) -> None:
    if table.description:
        st.caption(table.description)
    shown = _masks(table)
    with st.expander(f"Columns ({len(table.columns)})", icon=":material/list:"):
        st.dataframe(_columns(table), hide_index=True, width="stretch")
    filters = filter_panel.filters(shown)
    sort, descending, limit = _order(shown)
    statement = queries.rows(shown, filters, sort=sort, descending=descending, limit=limit)
    with st.spinner("Asking Trino…"):
        answer = lake.ask(statement, limit)
    if answer.frame.empty:
        st.info(strings.NO_ROWS if filters else strings.EMPTY_TABLE, icon=":material/search_off:")
    else:
        chart_panel.chart(shown, filters, answer)
        _rows(shown, answer, limit)
    _sql(statement)


def _masks(table: TableInfo) -> TableInfo:
    if not table.masked:
        return table
    reveal = st.toggle(strings.REVEAL, help=strings.REVEAL_HELP, key=f"reveal:{table.label}")
    if reveal:
        return table.revealed()
    note = strings.MASK_NOTE.format(columns=", ".join(column.name for column in table.masked))
    if any(column.name == PAYLOAD for column in table.masked):
        note += " " + strings.MASK_PAYLOAD_NOTE
    st.info(note, icon=":material/visibility_off:")
    return table


def _columns(table: TableInfo) -> list[dict[str, str]]:
    return [
        {
            "Column": column.name,
            "Type": column.type,
            "Classification": column.classification,
            "Description": column.description,
        }
        for column in table.columns
    ]


def _order(table: TableInfo) -> tuple[str | None, bool, int]:
    first, second, third = st.columns([3, 2, 2])
    names = [column.name for column in table.of_kind(*SORTABLE)]
    sort = first.selectbox("Sort by", names, index=None, placeholder="as they come", key=f"sort:{table.label}")
    direction = second.segmented_control(
        "Order", ("ascending", "descending"), default="descending", disabled=sort is None, key=f"order:{table.label}"
    )
    limit = third.selectbox("Rows at most", LIMITS, index=1, format_func=lambda n: f"{n:,}", key=f"limit:{table.label}")
    return sort, direction != "ascending", int(limit)


def _rows(table: TableInfo, answer: lake.Answer, limit: int) -> None:
    count = f"{len(answer.frame):,}"
    st.subheader("Rows")
    st.caption((strings.CUT if answer.truncated else strings.ALL).format(rows=count) + f" {answer.seconds:.2f} s.")
    st.dataframe(
        answer.frame,
        hide_index=True,
        width="stretch",
        column_config={c.name: st.column_config.Column(help=c.description or None) for c in table.columns},
    )
    st.download_button(
        "Download CSV",
        formatters.csv(answer.frame),
        f"{table.schema}_{table.name}.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _sql(statement: Statement) -> None:
    with st.expander("SQL that was run", icon=":material/code:"):
        st.code(statement.readable(), language="sql")
