"""One Chromium for this folder; a fresh plant and server for each test."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import Watched, chromium, watched_page
from tests.cloud.web.fake import Plant, build, serve

Open = Callable[..., Watched]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def plant() -> Plant:
    return Plant()


@pytest.fixture
def url(plant: Plant) -> Iterator[str]:
    with serve(build(plant)) as address:
        yield address


@pytest.fixture
def show(browser: Browser, plant: Plant, url: str) -> Iterator[Open]:
    """Opens the board and waits until it is live; keyword arguments go to the browser context."""
    with ExitStack() as stack:

        def show_board(path: str = "/", **context: object) -> Watched:
            it = stack.enter_context(watched_page(browser, **{"locale": "en-GB", **context}))
            with it.page.expect_response("**/v1/board?recent=60"):
                it.page.goto(url + path)
            # not wait_for_function: it evaluates strings, which the page's policy forbids
            expect(it.page.locator(".chart").first).to_have_attribute("aria-label", re.compile("60"))
            return it

        yield show_board
