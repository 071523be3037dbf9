"""Debian's Chromium, steered by Playwright, on MLflow's pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# MLflow's assistant covers a part of every page that is opened for the first time.
_NO_ASSISTANT = """
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
"""


def program() -> str | None:
    """Returns the path of Chromium; None where it is not installed."""
    return shutil.which("chromium")


@contextmanager
def opened(height: int = 900, width: int = 1280) -> Iterator["Page"]:
    """Yields an empty page of a new browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, who runs tests in containers; it opens this machine's pages alone.
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
            context.add_init_script(_NO_ASSISTANT)
            yield context.new_page()
        finally:
            browser.close()


def search_chart(page: "Page", name: str) -> "Locator":
    """Returns the title of a chart of the page *Model metrics*, which draws only the charts that fit on the screen."""
    page.get_by_placeholder("Search metric charts").fill(name)
    title = page.get_by_text(name, exact=True).first
    title.wait_for()
    return title


def full_screen(page: "Page", name: str) -> None:
    """Shows a chart of the page *Model metrics* on the whole screen."""
    search_chart(page, name).locator("xpath=ancestor::div[.//button][1]").get_by_role("button").first.click()
    page.get_by_role("dialog").wait_for()


def slide(page: "Page", number: int) -> None:
    """Moves the slider of a chart that is shown full screen to the picture of that number, from 1 on."""
    from playwright.sync_api import expect

    slider = page.get_by_role("dialog").get_by_role("slider")
    expect(slider).to_be_enabled(timeout=30_000)  # once the pictures of the run are listed
    slider.focus()
    for _ in range(number):
        slider.press("ArrowRight")
