"""The gateway's pages in a real browser: lists, forms and the API reference, with and without JavaScript, in three languages."""

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from catalog.contract import SUFFIX
from catalog.settings import BUNDLED_CONTRACTS
from tests.browser.conftest import watched
from tests.gateway import Gateway, Keys, running_gateway
from tests.stack import CHECKOUT, Stack, eventually

pytestmark = pytest.mark.stack
CONTRACTS = {
    "orders": BUNDLED_CONTRACTS / f"orders{SUFFIX}",
    "sink": CHECKOUT / "tests" / "contracts" / f"kitchen_sink{SUFFIX}",
}
PAGES = ("/", "/v1/streams/{sink}", "/v1/streams/{orders}", "/forms/{sink}", "/forms/{orders}", "/docs", "/nowhere")
# What a person can't read well: text whose contrast to its ground is below 4.5 (WCAG 2.2, 1.4.3).
FAINT = """() => {
  const light = text => {
    const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number);
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return [0.2126 * x + 0.7152 * y + 0.0722 * z, a === undefined ? 1 : a];
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const [level, alpha] = light(getComputedStyle(node).backgroundColor);
      if (alpha === 1) return level;
    }
    return light(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "rgb(0,0,0)" : "rgb(255,255,255)")[0];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const said = [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!said || !node.checkVisibility() || node.closest(".heard, .skip, option")) continue;
    const [one, two] = [light(getComputedStyle(node).color)[0], ground(node)].sort((a, b) => b - a);
    if ((one + 0.05) / (two + 0.05) < 4.5) faint.push(node.outerHTML.slice(0, 120));
  }
  return faint;
}"""


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(stack, tmp_path_factory.mktemp("contracts")) as running:
        yield running


@pytest.fixture(scope="module")
def streams(gateway: Gateway) -> dict[str, str]:
    """Names of this run's streams."""
    names = {short: f"{short}_{secrets.token_hex(3)}" for short in CONTRACTS}
    for short, name in names.items():
        gateway.make_topic(name)
        (gateway.contracts / f"{name}{SUFFIX}").write_text(CONTRACTS[short].read_text())
    eventually(lambda: set(names.values()) <= set(gateway.ready()["contracts"]["served"]), 20, "streams served")
    gateway.await_status("ready")
    return names


@pytest.fixture(scope="module")
def guarded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    """A gateway that asks for keys, with one for its only stream."""
    keys = Keys(tmp_path_factory.mktemp("keys") / "keys.json")
    _, header = keys.add("submit:orders*")
    contracts = tmp_path_factory.mktemp("guarded")
    with running_gateway(stack, contracts, keys, authentication="required") as running:
        name = f"orders_{secrets.token_hex(3)}"
        running.make_topic(name)
        (contracts / f"{name}{SUFFIX}").write_text(CONTRACTS["orders"].read_text())
        eventually(lambda: name in running.ready()["contracts"]["served"], 20, f"{name} served")
        yield running, header["authorization"].removeprefix("Bearer ")


@pytest.fixture(autouse=True)
def _topics_first(streams: dict[str, str], guarded: tuple[Gateway, str]) -> None:
    """Made before the browser is there: while it is open no other event loop can run."""


Open = Callable[..., Page]


@pytest.fixture
def visit(
    _topics_first: None, browser: Browser, gateway: Gateway, streams: dict[str, str], screenshots: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Open]:  # fmt: skip
    """Opens a path in a browser with settings of its own."""
    contexts: list[BrowserContext] = []
    with_pages = []

    def _open(path: str, width: int = 1200, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        entered = watched(context.new_page(), gateway.url, screenshots, request)
        page = entered.__enter__()
        with_pages.append(entered)
        page.goto(gateway.url + path.format(**streams))
        return page

    yield _open
    for entered in with_pages:
        entered.__exit__(None, None, None)
    for context in contexts:
        context.close()


WORDS = {
    "en": ("Send events", "Send", "This was not sent yet", "Enter a UUID", "Received", "May 5, 2026", "1,200"),
    "es": ("Enviar eventos", "Enviar", "Todavía no se ha enviado", "Escriba un UUID", "Recibido",
           "5 de mayo de 2026", "1.200"),
    "fr": ("Envoyer des événements", "Envoyer", "Rien n’a encore été envoyé", "Saisissez un UUID",
           "Bien reçu", "5 mai 2026", "1\u202f200"),
}  # fmt: skip


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("language", WORDS)
def test_an_entry_is_filled_in_mended_and_received(
    visit: Open, streams: dict[str, str], language: str, script: bool
) -> None:
    title, send, not_sent, uuid, received, day, quantity = WORDS[language]
    page = visit("/", locale=language, java_script_enabled=script)
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.locator(f"a[href='/forms/{streams['orders']}']").click()

    page.get_by_label("Order id").fill("4711")
    page.get_by_label("Product").fill("whey")
    page.get_by_label("Quantity").fill("1200")
    page.get_by_label("Ordered at").fill("2026-05-05T12:13:14")
    page.locator("#zone").select_option("Europe/Zurich")
    page.get_by_role("button", name=send, exact=True).click()

    summary = page.get_by_role("alert")
    expect(summary).to_contain_text(not_sent)
    expect(summary).to_be_focused()
    expect(summary.get_by_role("link")).to_have_count(2)
    field = page.get_by_label("Order id")
    expect(field).to_have_value("4711")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert uuid in str(page.locator("#f-order_id-error").text_content())
    expect(page.locator("#zone")).to_have_value("Europe/Zurich")
    expect(page.get_by_label("Ordered at")).to_have_value("2026-05-05T12:13:14")
    summary.get_by_role("link").first.click()
    expect(page).to_have_url(re.compile("#f-order_id$"))

    field.fill("0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42")
    page.get_by_label("Product").fill("WHEY001")
    page.get_by_role("button", name=send, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(received)
    for text in (day, quantity, "12:13:14", "WHEY001", streams["orders"]):
        expect(page.locator("main")).to_contain_text(text)
    first = page.locator("dl code").text_content()
    page.reload()
    assert page.locator("dl code").text_content() == first  # the same entry, sent twice, is one event


def test_a_link_fills_in_fields(visit: Open) -> None:
    page = visit("/forms/{sink}?code=AB7&size=medium&fragile=true&tags=a&tags=b&zone=Asia/Tokyo&notes=%3Cb%3E&lang=en")
    expect(page.get_by_label("Code")).to_have_value("AB7")
    expect(page.get_by_role("radiogroup", name="Size").get_by_label("medium")).to_be_checked()
    expect(page.get_by_label("Tags")).to_have_value("a\nb")
    expect(page.get_by_label("Notes")).to_have_value("<b>")
    expect(page.locator("#zone")).to_have_value("Asia/Tokyo")


def test_the_browser_itself_stops_what_is_plainly_wrong(visit: Open) -> None:
    page = visit("/forms/{orders}")
    page.get_by_label("Quantity").fill("0")
    page.get_by_role("button", name="Send", exact=True).click()
    assert page.evaluate("[...document.querySelectorAll(':invalid:not(form)')].map(e => e.name)") == [
        "order_id", "product_id", "quantity", "timestamp",
    ]  # fmt: skip
    assert page.locator("[role=alert]").count() == 0


def test_a_form_with_every_kind_of_field_can_be_sent(visit: Open) -> None:
    page = visit("/forms/{sink}", java_script_enabled=False)
    texts = {
        "Code": "AB1", "Count": "5", "Price": "1234.50", "Packed on": "2026-02-03", "Packed at": "2026-02-03T04:05:06",
        "Opens": "08:30:00", "E-mail": "a@example.com", "Notes": "one\ntwo <b>", "Tags": "x\ny", "Street": "1 Road",
        "Extra": '{"a": 1}', "Latitude": "46.9", "Longitude": "7.4",
    }  # fmt: skip
    for label, text in texts.items():
        page.get_by_label(label).and_(page.locator("input, textarea")).first.fill(text)
    page.get_by_role("radiogroup", name="Size").get_by_label("medium").check()
    page.get_by_role("radiogroup", name="Fragile").get_by_label("Yes").check()
    page.get_by_label("Grade").select_option("4")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Received")
    for text in ("1,234.5", "February 3, 2026", "one\ntwo <b>", "medium", "Yes"):
        expect(page.locator("main")).to_contain_text(text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_page(visit: Open, gateway: Gateway, streams: dict[str, str], scheme: str) -> None:
    page = visit("/", color_scheme=scheme)
    for path in PAGES:
        page.goto(gateway.url + path.format(**streams))
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate(FAINT) == [], path
    page.goto(f"{gateway.url}/forms/{streams['sink']}")
    page.evaluate("document.forms[0].noValidate = true")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate(FAINT) == []


def test_no_page_scrolls_sideways_on_a_small_screen(visit: Open, gateway: Gateway, streams: dict[str, str]) -> None:
    page = visit("/", width=320)
    for path in PAGES:
        page.goto(gateway.url + path.format(**streams))
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_the_keyboard_reaches_everything(visit: Open, gateway: Gateway, streams: dict[str, str]) -> None:
    page = visit("/forms/{orders}?lang=fr")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Aller au contenu")).to_be_focused()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
        shown = page.evaluate(
            "[getComputedStyle(document.activeElement).outlineStyle, document.activeElement.outerHTML]"
        )
        assert shown[0] != "none", shown[1][:200]
    assert reached >= {"_zone", "order_id", "product_id", "quantity", "timestamp", "unit_price", "currency", "Envoyer"}


def test_the_language_can_be_switched_and_stays(visit: Open, streams: dict[str, str]) -> None:
    page = visit("/", locale="en")
    page.get_by_role("link", name="Español").click()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    page.locator(f"a[href^='/forms/{streams['orders']}']").click()
    expect(page.get_by_role("button", name="Enviar", exact=True)).to_be_visible()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_api_reference_shows_each_stream(visit: Open, streams: dict[str, str], script: bool) -> None:
    page = visit("/docs", java_script_enabled=script)
    operation = page.locator("details.operation").filter(has_text=f"/v1/streams/{streams['sink']}/events")
    operation.locator("summary").first.click() if operation.get_attribute("open") is None else None
    expect(operation.get_by_text("Idempotency-Key")).to_be_visible()
    operation.locator("details summary").filter(has_text="application/x-ndjson").click()
    expect(operation.get_by_label("application/x-ndjson")).to_contain_text("AB12")
    operation.get_by_role("link", name="Problem").first.click()
    expect(page).to_have_url(re.compile("#shape-Problem$"))


def test_the_javascript_that_a_stream_shows_sends_an_event(visit: Open) -> None:
    page = visit("/v1/streams/{orders}", bypass_csp=True)  # the pages themselves may run nothing
    program = page.get_by_label("JavaScript").text_content()
    with page.expect_console_message(lambda message: message.text.startswith("202 ")):
        page.evaluate(f"async () => {{ {program} }}")


def test_a_browser_signs_in_with_a_key(
    guarded: tuple[Gateway, str], browser: Browser, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    gateway, key = guarded
    context = browser.new_context(locale="es", http_credentials={"username": "anybody", "password": key})
    with watched(context.new_page(), gateway.url, screenshots, request) as page:
        page.goto(gateway.url)
        page.get_by_role("link", name="Entrar con una clave").click()
        page.get_by_role("link", name="Rellenar el formulario").click()
        expect(page.get_by_role("button", name="Enviar", exact=True)).to_be_visible()
        page.get_by_label("Order id").fill("0b1f6f0e-5a3c-4d57-9a51-3f2b7c1d9e42")
        page.get_by_label("Product").fill("WHEY001")
        page.get_by_label("Quantity").fill("1")
        page.get_by_label("Ordered at").fill("2026-05-05T12:13:14")
        page.get_by_role("button", name="Enviar", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Recibido")
    context.close()
