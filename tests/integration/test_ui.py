"""The explorer's pages against the real lake, driven without a browser."""

from collections.abc import Iterator

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from catalog import gold_refresh, query
from catalog.settings import LakeSettings, lake_settings, read_settings
from infra.commands import demo
from tests.stack import Stack

pytestmark = pytest.mark.stack

LIMIT = 300


@pytest.fixture(scope="module")
def lake(stack: Stack) -> Iterator[LakeSettings]:
    """Settings of the stack, with the demo in silver and gold built."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.env().items():
            patch.setenv(name, value)
        lake_settings.cache_clear()
        streamlit.cache_data.clear()
        settings = read_settings(LakeSettings)
        demo.run(settings)
        gold_refresh.build(settings)
        yield settings
        lake_settings.cache_clear()
        streamlit.cache_data.clear()


def page(module: str, **query_params: str) -> AppTest:
    app = AppTest.from_string(f"from ui import {module}\n{module}.page()", default_timeout=LIMIT)
    for name, value in query_params.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def test_the_overview_counts_what_the_tables_hold(lake: LakeSettings) -> None:
    app = page("overview")
    table = app.dataframe[0].value.set_index("Stream")
    for stream in ("wildlife_strikes", "earthquakes"):
        for layer in ("bronze", "silver", "quarantine"):
            counted = query.rows(lake, f"select count(*) as total from {layer}.{stream}")[0]["total"]
            assert table.loc[stream, layer.capitalize()] == counted
    assert not app.warning


def test_explore_filters_and_shows_the_sql(lake: LakeSettings) -> None:
    app = page("explore", table="silver.wildlife_strikes")
    app.multiselect(key="filter:silver.wildlife_strikes").set_value(["phase_of_flight", "cost_total"]).run()
    app.multiselect(key="value:silver.wildlife_strikes:phase_of_flight").set_value(["Climb"]).run()
    slider = app.slider(key="value:silver.wildlife_strikes:cost_total")
    slider.set_value((1, slider.max)).run()
    assert not app.exception
    rows = app.dataframe[-1].value
    expected = query.rows(
        lake, "select count(*) as n from silver.wildlife_strikes where phase_of_flight = 'Climb' and cost_total >= 1"
    )
    assert len(rows) == expected[0]["n"]
    sql = app.code[-1].value
    assert "'Climb'" in sql
    assert len(query.run(lake, sql).rows) == len(rows)


def test_personal_data_is_masked_until_it_is_asked_for(lake: LakeSettings) -> None:
    app = page("explore", table="silver.users")
    masked = app.dataframe[-1].value
    assert set(masked["email"]) == {"•••"}
    assert set(masked["country"]) != {"•••"}
    app.toggle(key="reveal:silver.users").set_value(True).run()
    assert all("@" in value for value in app.dataframe[-1].value["email"])


@pytest.mark.parametrize("layer", ["bronze", "quarantine"])
def test_the_raw_payload_of_users_is_masked(lake: LakeSettings, layer: str) -> None:
    app = page("explore", table=f"{layer}.users")
    assert "'•••' as \"payload\"" in app.code[-1].value


def test_every_table_can_be_explored(lake: LakeSettings) -> None:
    labels = page("explore").selectbox[0].options
    assert {label.split(".")[0] for label in labels} == {"gold", "silver", "quarantine", "bronze"}
    for label in labels:
        app = page("explore", table=label)
        assert not app.error, label


def test_the_sql_page_runs_a_statement_and_says_what_is_wrong(lake: LakeSettings) -> None:
    app = page("sql_page")
    run(app)
    assert "Canada goose" in set(app.dataframe[0].value["species"])
    app.text_area[0].set_value("select nothing from gold.strikes_by_species")
    run(app)
    assert any("nothing" in error.value and "1:8" in error.value.replace("\\", "") for error in app.error)


def run(app: AppTest) -> None:
    next(button for button in app.button if button.label == "Run").click().run()
    assert not app.exception
