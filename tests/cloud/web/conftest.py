"""One Chromium and one English page for this folder; a fresh plant and server for each test."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, ViewportSize, expect

from tests.browser import Watched, chromium, watched_page
from tests.cloud.web.fake import Plant, build, serve

Open = Callable[..., Watched]
DESK: ViewportSize = {"width": 1440, "height": 900}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def english(browser: Browser) -> Iterator[Watched]:
    with watched_page(browser, locale="en-GB") as it:
        yield it


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.fixture
def url(plant: Plant) -> Iterator[str]:
    with serve(build(plant)) as address:
        yield address


@pytest.fixture
def show(english: Watched, url: str) -> Iterator[Open]:
    """Opens the board, as `show(path, viewport)`, and waits until it is live."""

    def show_board(path: str = "/", viewport: ViewportSize = DESK) -> Watched:
        english.page.set_viewport_size(viewport)
        english.page.goto(url + path)
        # not wait_for_function: it evaluates strings, which the page's policy forbids
        first = english.page.locator(".chart").first
        expect(first).to_have_attribute("aria-label", re.compile("60"))
        return english

    yield show_board
    english.page.goto("about:blank")
    english.page.emulate_media(color_scheme="light")
    english.page.context.clear_cookies()
    english.forget()
