"""A real Chromium for tests: a fresh profile, quiet, and told to leave the network alone.

`chromium()` gives a browser, `watched_page()` a page that remembers what it asked and logged.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 10_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless, in a profile that is thrown away.

    Raises `RuntimeError` where Chromium is missing: an untested page is a failure, not a skip.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise RuntimeError("the page tests need Chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), env=dict(os.environ)
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, the hosts it asked and the errors it logged (policy violations among them)."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew with the same page."""
        self.hosts.clear()
        self.errors.clear()


@contextmanager
def watched_page(browser: Browser, **context: Any) -> Iterator[Watched]:
    """A page in its own context; `context` goes to Playwright's `new_context`."""
    own = browser.new_context(**context)
    page = own.new_page()
    page.set_default_timeout(PATIENCE_MS)
    seen = Watched(page)
    page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).hostname or ""))
    page.on("websocket", lambda socket: seen.hosts.add(urlsplit(socket.url).hostname or ""))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on(
        "console",
        lambda said: seen.errors.append(said.text) if said.type in ("error", "warning") else None,
    )
    try:
        yield seen
    finally:
        own.close()
