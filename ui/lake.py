"""Reads of the lake, shared by all sessions for some seconds, so that many open browsers cost Trino little more than one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from catalog import query
from catalog.contract import Stream
from catalog.odcs import load_contracts
from catalog.settings import LakeSettings, lake_settings
from ui import formatters, queries
from ui.queries import Statement
from ui.tables import TableInfo, described

SOURCE = "sluice-ui"


@dataclass(frozen=True)
class Answer:
    """A result as the pages show it."""

    frame: pd.DataFrame
    columns: tuple[query.ResultColumn, ...]
    seconds: float
    truncated: bool


def settings() -> LakeSettings:
    """Where the lake is. Raises SluiceError for a setting that can't work."""
    return lake_settings()


@st.cache_data(ttl=10, show_spinner=False)
def streams() -> dict[str, Stream]:
    """All contracts by stream name; read again every 10 s, since a stream may be added while the stack runs."""
    return load_contracts(settings().contracts)


@st.cache_data(ttl=10, show_spinner=False)
def tables() -> dict[str, TableInfo]:
    """All tables of the lake by label, described by their contracts."""
    return described(query.run(settings(), queries.COLUMNS, source=SOURCE).records(), streams())


@st.cache_data(ttl=4, show_spinner=False)
def live(sql: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Rows that may be 4 s old."""
    return query.run(settings(), sql, values, source=SOURCE).records() if sql else []


@st.cache_data(ttl=60, show_spinner=False)
def slow(sql: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Rows that may be a minute old: what filters are made of."""
    return query.run(settings(), sql, values, source=SOURCE).records()


def ask(statement: Statement, limit: int) -> Answer:
    """Run a statement now and fetch at most `limit` rows."""
    result = query.run(settings(), statement.sql, statement.values, limit=limit, source=SOURCE)
    frame = formatters.frame([column.name for column in result.columns], result.rows)
    return Answer(frame, result.columns, result.seconds, result.truncated)


def totals(known: Mapping[str, TableInfo]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """stream → layer → counts and offsets of the tables that are there."""
    names = [(table.schema, table.name) for table in known.values() if table.schema != "gold"]
    return queries.by_stream(live(queries.stream_totals(names).sql))


def of_layer(known: Mapping[str, TableInfo], layer: str) -> Sequence[str]:
    """Names of the tables of a layer."""
    return [table.name for table in known.values() if table.schema == layer]
