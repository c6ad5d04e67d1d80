"""Failures as a page shows them: in words, with what to do, never a traceback."""

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
    except TrinoAwayError as away:
        st.warning(f"**{strings.TRINO_AWAY}** {strings.TRINO_AWAY_HELP}", icon=":material/cloud_off:")
        st.caption(str(away))
    except SluiceError as failure:
        st.error(str(failure), icon=":material/error:")


def no_tables() -> None:
    """The lake is empty."""
    st.info(f"**{strings.NO_TABLES}** {strings.NO_TABLES_HELP}", icon=":material/inbox:")
