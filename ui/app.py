"""The explorer: `streamlit run ui/app.py`. The table of contents; each page is a module of its own."""

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]
# Streamlit puts this file's folder on the path, not the folder that holds `ui` and `catalog`.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from ui import explore, overview, sql_page, strings  # noqa: E402

st.set_page_config(page_title=strings.TITLE, page_icon="🌊", layout="wide")
st.logo(str(Path(__file__).parent / "static" / "logo.svg"), size="large")
st.navigation(
    [
        st.Page(overview.page, title=strings.OVERVIEW, icon=":material/monitoring:", url_path="overview", default=True),
        st.Page(explore.page, title=strings.EXPLORE, icon=":material/table_view:", url_path="explore"),
        st.Page(sql_page.page, title=strings.SQL, icon=":material/terminal:", url_path="sql"),
    ]
).run()
