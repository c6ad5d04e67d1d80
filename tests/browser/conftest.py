"""A real browser: Debian's chromium, driven by Playwright, with a fresh profile and nothing from the network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.stack import Stack

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120_000  # milliseconds


@contextmanager
def chromium() -> Iterator[Browser]:
    """While it is open no other event loop can run in this process."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE)
        started = playwright.chromium.launch(executable_path=program, args=list(FLAGS), timeout=PATIENCE)
        yield started
        started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def explorer(stack: Stack) -> str:
    """Address of the stack's explorer, with the demo loaded and gold built.

    By the command, not in this process: Playwright's event loop runs here, and the demo needs one of its own.
    """
    stack.sluice("up", "--demo")
    stack.sluice("apply")
    return stack.env()["SLUICE_UI_URL"]


@pytest.fixture
def page(browser: Browser, explorer: str, screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of the explorer."""
    with watched(browser.new_page(viewport={"width": 1400, "height": 1600}), explorer, screenshots, request) as opened:
        yield opened


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the screenshots of this run."""
    folder = tmp_path_factory.getbasetemp() / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def watched(opened: Page, site: str, screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Remember what a page loads from elsewhere, which is a failure, and leave a screenshot of its end."""
    opened.set_default_timeout(PATIENCE)
    foreign: list[str] = []
    own = (site, site.replace("http", "ws", 1), "data:", "blob:", "about:")
    opened.on("request", lambda asked: None if asked.url.startswith(own) else foreign.append(asked.url))
    yield opened
    opened.screenshot(path=screenshots / f"{request.node.name}.png", full_page=True)
    opened.close()
    assert foreign == []
