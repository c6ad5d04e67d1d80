"""Pages without a lake: what a person sees when Trino is away, and what the SQL page refuses before it asks anyone."""

import socket
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from catalog.settings import lake_settings
from tests.stack import patient
from ui import services

PAGES = {
    "overview": "from ui import overview as page",
    "explore": "from ui import explore as page",
    "sql": "from ui import sql_page as page",
}


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket() as taken:
        # Bound and not listening: every connection is refused, and nobody else gets the port meanwhile.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for name in ("TRINO_URL", "GATEWAY_URL", "S3_ENDPOINT"):
            monkeypatch.setenv(f"SLUICE_{name}", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("SLUICE_KAFKA_BOOTSTRAP", f"127.0.0.1:{port}")
        monkeypatch.setenv("SLUICE_CATALOG_URI", f"postgresql://sluice@127.0.0.1:{port}/lake")
        lake_settings.cache_clear()
        yield
        lake_settings.cache_clear()


def shown(page: str) -> AppTest:
    return AppTest.from_string(f"{PAGES[page]}\npage.page()", default_timeout=patient(60)).run()


@pytest.mark.parametrize("page", ["overview", "explore", "sql"])
def test_trino_being_away_is_said_in_words(page: str) -> None:
    app = shown(page)
    assert not app.exception
    assert any("Trino does not answer" in warning.value and "sluice up" in warning.value for warning in app.warning)


def test_the_overview_still_shows_the_services() -> None:
    app = shown("overview")
    words = " ".join(str(element.value) for element in app.markdown)
    assert "Gateway" in words
    assert "away" in words


@pytest.mark.parametrize(("told", "names"), [(True, {"Object store", "Catalog database"}), (False, set())])
def test_the_overview_leaves_out_servers_that_it_was_told_no_address_of(
    told: bool, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    services.health.clear()  # it remembers an answer, by Trino's address alone
    if not told:
        monkeypatch.setenv("SLUICE_S3_ENDPOINT", "")
        monkeypatch.delenv("SLUICE_CATALOG_URI")
    words = " ".join(str(element.value) for element in shown("overview").markdown)
    shown_parts = {name for name in ("Gateway", "Kafka", "Object store", "Catalog database", "Trino") if name in words}
    assert shown_parts == {"Gateway", "Kafka", "Trino"} | names


def test_the_sql_page_refuses_what_changes_something() -> None:
    app = shown("sql")
    app.text_area[0].set_value("delete from silver.orders")
    app.button[0].click().run()
    assert not app.exception
    assert any("only reads" in error.value for error in app.error)


def test_the_session_remembers_its_statements() -> None:
    app = shown("sql")
    app.text_area[0].set_value("drop table a")
    app.button[0].click().run()
    assert "drop table a" in [code.value for code in app.code]
    assert any("refused" in caption.value for caption in app.caption)
