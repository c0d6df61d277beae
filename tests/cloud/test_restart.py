"""What outlives a crash or a full disk: everything answered 204, and everything that was told."""

import math
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cloud import lines
from tests.cloud.server import RunningCloud, running_cloud, until

SECOND_NS = lines.SECOND_NS
OUTBOX = "7b0a5a52-3a86-4a6f-8e6a-7f2b8b9c1d11"


@dataclass
class Crash:
    """A cloud that was killed with -9 right after its last 204, and started again."""

    cloud: RunningCloud
    before: dict[str, Any]
    board_url_before: str
    now_ns: int
    browser: httpx.Client


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    with running_cloud(tmp_path_factory.mktemp("crash")) as cloud, httpx.Client() as browser:
        browser.get(cloud.board_url)
        now_ns = time.time_ns()
        about = [
            f'machine,{lines.path()} model="M-1",order_in_line=1i {now_ns}',
            f'signal,{lines.path()},signal=ram_force kind="analog",unit="kN" {now_ns}',
            f'signal,{lines.path()},signal=unit kind="text" {now_ns}',
            lines.text(now_ns, "88.1/2"),
            lines.anomaly(now_ns, 'id="open",severity="alarm",score=0.5,message="high"'),
            lines.anomaly(now_ns - 9, f'id="over",severity="alarm",ended_ns={now_ns}i'),
        ]
        windows = [lines.window(now_ns - n * SECOND_NS, float(n)) for n in range(70)]
        revised = lines.window(now_ns - SECOND_NS, 8.5, rev=3)
        older = lines.window(now_ns - SECOND_NS, 7.5, rev=2)
        bodies = ["\n".join(about + windows), revised, older]
        bodies += ["weather,place=hall temperature=21.5 1"]
        for body in bodies:
            assert cloud.write(body).status_code == 204
        headers = {"X_Andon_Outbox": OUTBOX, "X_Andon_Lines": "1-40", "X_Andon_Void": "41-43"}
        assert cloud.write(lines.gateway(now_ns, 7), **headers).status_code == 204
        before, url = cloud.get("/v1/board", recent=600), cloud.board_url
        for number in range(20):
            line = lines.window(number, float(number), line="last-words")
            assert cloud.write(line).status_code == 204
        cloud.kill()
        cloud.restart()
        yield Crash(cloud, before, url, now_ns, browser)


def test_what_was_answered_204_survives_kill_9(crash: Crash) -> None:
    kept = crash.cloud.get("/v1/windows", line="last-words")["windows"]
    assert kept["mean"] == [float(number) for number in range(20)]


def test_the_board_is_the_same(crash: Crash) -> None:
    after = crash.cloud.get("/v1/board", recent=600)
    found = [one for one in after["lines"] if one["path"]["line"] == "line-1"]
    assert found == crash.before["lines"]
    assert after["gateways"] == crash.before["gateways"]
    signal = found[0]["machines"][0]["signals"][0]
    assert len(signal["recent"]) == 60
    assert signal["recent"][-2][1] == 8.5


def test_received_lines_are_remembered_with_their_gateway(crash: Crash) -> None:
    [found] = crash.cloud.get("/v1/gateways")["gateways"]
    assert (found["outbox"], found["received"], found["holes"]) == (OUTBOX, [[1, 40]], [])
    assert (found["void"], found["void_total"]) == ([[41, 43]], 3)
    assert found["gateway"]["gateway"] == "gw-1"
    assert found["gateway"]["ledger"]["samples"]["received"] == 7
    assert found["gateway"]["ledger"]["balanced"] is True


def test_a_revision_that_was_overtaken_does_not_come_back(crash: Crash) -> None:
    late = lines.window(crash.now_ns - SECOND_NS, 6.5, rev=2)
    assert crash.cloud.write(late).status_code == 204
    [line] = [
        one
        for one in crash.cloud.get("/v1/board", recent=60)["lines"]
        if one["path"]["line"] == "line-1"
    ]
    assert line["machines"][0]["signals"][0]["recent"][-2][1] == 8.5
    found = crash.cloud.get("/v1/windows", line="line-1", limit=10_000)["windows"]
    assert found["mean"][-2] == 8.5


def test_a_foreign_field_keeps_its_first_type(crash: Crash) -> None:
    assert crash.cloud.write("weather,place=roof temperature=3i 3").status_code == 422
    assert crash.cloud.write("weather,place=roof temperature=3 3").status_code == 204


def test_sessions_go_on_and_each_start_has_its_own_link(crash: Crash) -> None:
    assert crash.browser.get(f"{crash.cloud.url}/v1/board").status_code == 200
    assert crash.cloud.board_url != crash.board_url_before


def test_tokens_are_shown_at_the_first_start_only(crash: Crash) -> None:
    assert crash.cloud.write_token != crash.cloud.read_token
    assert crash.cloud.ready["write_token"] is None
    assert crash.cloud.ready["read_token"] is None
    assert crash.cloud.talk == ""


def test_after_a_full_disk_writing_goes_on_and_nothing_answered_is_lost(tmp_path: Path) -> None:
    kept: list[int] = []

    def write(cloud: RunningCloud) -> int:
        first = 10_000 * (len(kept) + 1)
        body = "\n".join(
            f"sample,{lines.path()},signal=s value={math.sin(first + row)} {first + row}"
            for row in range(5_000)
        )
        status = cloud.write(body).status_code
        if status == 204:
            kept.append(first)
        return status

    with running_cloud(tmp_path) as cloud:
        pid, unlimited = cloud.ready["pid"], (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        assert write(cloud) == 204
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        until(lambda: write(cloud) == 503)
        assert cloud.client.get(f"{cloud.url}/health").status_code == 503
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        assert write(cloud) == 204
        assert cloud.client.get(f"{cloud.url}/health").status_code == 200
        cloud.kill()
        cloud.restart()
        times = cloud.get("/v1/samples", signal="s", limit=10_000)
        found = list(times["samples"]["time_ns"])
        while times["next"]:
            times = cloud.get("/v1/samples", signal="s", limit=10_000, cursor=times["next"])
            found += times["samples"]["time_ns"]
        assert found == [first + row for first in kept for row in range(5_000)]
