"""What a person sees and does in the explorer."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE

pytestmark = pytest.mark.stack


def test_the_overview_is_live(page: Page, explorer: str) -> None:
    page.goto(explorer)
    expect(page.get_by_role("heading", name="Streams")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Services")).to_be_visible(timeout=PATIENCE)
    stamp = page.get_by_text(re.compile(r"As of .* UTC"))
    first = stamp.inner_text(timeout=PATIENCE)
    expect(stamp).not_to_have_text(first, timeout=PATIENCE)


def test_earthquakes_are_on_a_map_with_coastlines(page: Page, explorer: str) -> None:
    page.goto(f"{explorer}/explore?table=silver.earthquakes")
    expect(page.locator(".geolayer .coastlines path").first).to_be_attached(timeout=PATIENCE)
    expect(page.locator(".scattergeo path.point").first).to_be_attached(timeout=PATIENCE)


def test_a_table_is_charted_and_downloaded(page: Page, explorer: str) -> None:
    page.goto(f"{explorer}/explore?table=gold.strikes_by_species")
    expect(page.locator(".barlayer .bars path").first).to_be_attached(timeout=PATIENCE)
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="Download CSV").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert text.startswith("species,")
    assert "Canada goose" in text


def test_masks_are_explained(page: Page, explorer: str) -> None:
    page.goto(f"{explorer}/explore?table=silver.users")
    expect(page.get_by_text(re.compile("Masked: first_name"))).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Show masked columns")).to_be_visible()


def test_sql_is_run_from_the_keyboard(page: Page, explorer: str) -> None:
    page.goto(f"{explorer}/sql")
    editor = page.get_by_role("textbox", name="Statement")
    editor.fill("select 6 * 7 as answer", timeout=PATIENCE)
    editor.press("Control+Enter")
    expect(page.get_by_text(re.compile(r"^1 rows?\."))).to_be_visible(timeout=PATIENCE)
    editor.fill("drop table silver.orders")
    editor.press("Control+Enter")
    expect(page.get_by_text(re.compile("The explorer only reads: DROP"))).to_be_visible(timeout=PATIENCE)


def test_every_control_has_a_name(page: Page, explorer: str) -> None:
    page.goto(f"{explorer}/explore?table=gold.strikes_by_species")
    expect(page.get_by_role("heading", name="Rows")).to_be_visible(timeout=PATIENCE)
    for label in ("Table", "Filter by", "Sort by", "Rows at most", "Chart"):
        expect(page.get_by_label(re.compile(label)).first).to_be_visible(timeout=PATIENCE)
