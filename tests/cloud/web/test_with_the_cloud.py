"""The page on the real cloud: login, snapshot and stream, not as the fake plays them."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import watched_page
from tests.cloud.lines import SECOND_NS, anomaly, gateway, path, text, window
from tests.cloud.server import RunningCloud, running_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """One of its own: its link is used here, and its board shows what is written here alone."""
    with running_cloud(tmp_path_factory.mktemp("page")) as running:
        yield running


def test_the_board_follows_what_is_written(browser: Browser, cloud: RunningCloud) -> None:
    now_ns = time.time_ns() // SECOND_NS * SECOND_NS
    lines = [
        f'machine,{path()} model="Press 40",order_in_line=1i {now_ns}',
        f'signal,{path()},signal=ram_force kind="analog",unit="kN" {now_ns}',
        f'signal,{path()},signal=unit kind="text" {now_ns}',
        text(now_ns, "U-000007"),
        gateway(now_ns, received=1204),
        *(window(now_ns - back * SECOND_NS, 400.0) for back in range(10, 1, -1)),
    ]
    assert cloud.write("\n".join(lines)).status_code == 204
    with watched_page(browser, locale="en-GB") as it:
        it.page.goto(cloud.board_url)
        it.page.evaluate("window.same = true")
        tile = it.page.locator(".machine")
        expect(tile.locator(".value")).to_have_text("400.0")
        expect(tile.locator(".unit-label")).to_have_text("Unit U-000007")
        expect(it.page.locator(".gateway")).to_contain_text("1,204 samples received")
        fields = 'id="a1",severity="alarm",score=0.9,message="512 kN where 399 to 401 is normal"'
        cloud.write("\n".join([window(now_ns, 512.0), anomaly(now_ns, fields)]))
        expect(tile.locator(".value")).to_have_text("512.0")
        expect(tile.locator(".why")).to_have_text("ram force: 512 kN where 399 to 401 is normal")
        cloud.write(anomaly(now_ns, f"{fields},ended_ns={now_ns + SECOND_NS}i"))
        expect(it.page.locator(".ended li")).to_contain_text("512 kN")
        expect(tile.locator(".why")).to_have_count(0)
        assert it.page.evaluate("window.same")
        assert it.hosts == {"127.0.0.1"}
        assert it.errors == []


def test_a_stranger_sees_nothing_but_how_to_get_in(browser: Browser, cloud: RunningCloud) -> None:
    with watched_page(browser, locale="zh-CN") as it:
        answer = it.page.goto(cloud.url)
        assert answer is not None
        assert answer.status == 401
        expect(it.page.locator("h1")).to_have_text("尚未登录")
