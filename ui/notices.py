"""Failures as a page shows them: in words, with what to do, never a traceback."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from catalog.errors import SluiceError
from catalog.query import TrinoAwayError
from ui import strings


@contextmanager
def friendly() -> Iterator[None]:
    """Inside, what a user can cause becomes a notice and ends this part of the page."""
    try:
        yield
    except SluiceError as failure:
        show(failure)


def show(failure: SluiceError) -> None:
    """One failure."""
    if isinstance(failure, TrinoAwayError):
        st.warning(f"**{strings.TRINO_AWAY}** {strings.TRINO_AWAY_HELP}", icon=":material/cloud_off:")
        st.caption(str(failure))
    else:
        st.error(plain(str(failure)), icon=":material/error:")


def plain(text: str) -> str:
    """Text that Markdown shows as it is: an error may quote whatever someone sent."""
    return re.sub(r"([\\`*_{}\[\]()#+.!|<>~$:-])", r"\\\1", text)


def no_tables() -> None:
    """The lake is empty."""
    st.info(f"**{strings.NO_TABLES}** {strings.NO_TABLES_HELP}", icon=":material/inbox:")
