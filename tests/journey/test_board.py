"""The board in a real browser, before a real line: what a person on the floor sees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import chromium, watched_page
from tests.cloud.server import until
from tests.journey.plant import plant

LINE = ("run", "--embedded-broker", "--control", "--seed", "11", "--seconds", "60")
MACHINES = ["press-01", "oven-01", "conveyor-01", "vision-01", "meter-01"]


@pytest.mark.timeout(240)
def test_the_board_shows_the_line_and_its_anomalies_as_they_come(tmp_path: Path) -> None:
    with (
        plant(tmp_path, line=LINE) as it,
        chromium() as browser,
        watched_page(browser, viewport={"width": 1440, "height": 900}) as seen,
    ):
        it.line.say("start")
        it.line.event("started")
        until(lambda: it.received() > 300, 30)
        page = seen.page
        page.goto(it.cloud.board_url)
        tiles = page.locator("[data-machine]")
        expect(tiles).to_have_count(len(MACHINES))
        shown = [
            name.split("/")[-1]
            for name in tiles.evaluate_all("all => all.map(one => one.dataset.machine)")
        ]
        page.evaluate("() => { window.stillTheSamePage = true }")
        value = page.locator('[data-signal$="press-01/ram_force"] .value')
        before = value.inner_text()
        expect(value).not_to_have_text(before)
        anomaly = page.locator(".attention [data-anomaly]").first
        expect(anomaly).to_be_visible(timeout=60_000)
        expect(anomaly).to_contain_text(re.compile("normal|unchanged|no value|reports"))
        expect(page.locator(".gateway .verdict")).to_have_text("Balanced.")
        same_page = page.evaluate("() => window.stillTheSamePage === true")
        anomalies = it.cloud.get("/v1/anomalies")["anomalies"]

    assert shown == MACHINES
    assert same_page
    assert anomalies
    assert seen.hosts == {"127.0.0.1"}
    assert seen.errors == []
