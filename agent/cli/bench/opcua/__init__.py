"""`andon bench opcua`: what a notification costs, from the wire to `Batch`.

Enters: how long to measure. Leaves: figures by name, medians of several runs. A server in a process
of its own sends encoded notifications over TCP to clients, each in a process of its own, one after
another: our source, asyncua's handler path, and one that only counts frames.
What can fail: one of those processes, AndonError.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from agent.cli.bench import client
from agent.cli.bench.client import Task
from agent.errors import AndonError

PER_MESSAGE: Final = {1000: "", 100: "_100", 10: "_10"}
"""Notifications a message, and what their figures' names end with."""
RUNS: Final = 3
WARM_S: Final = 0.5
SOAK_RATE_HZ: Final = 100_000.0
SOAK_WARM_S: Final = 20.0
HOUR_S: Final = 3600.0
MINUTE_S: Final = 60.0

FIGURES: Final = {
    "client_us_per_notification": ("client's processor, 1,000 notifications a message", "us each"),
    "client_us_per_notification_100": ("100 a message", "us each"),
    "client_us_per_notification_10": ("10 a message", "us each"),
    "notifications_per_s": ("notifications a second by the clock, 1,000 a message", ""),
    "notifications_per_s_100": ("100 a message", ""),
    "notifications_per_s_10": ("10 a message", ""),
    "asyncua_us_per_notification": ("asyncua's handler, 1,000 a message", "us each"),
    "asyncua_notifications_per_s": ("its notifications a second by the clock", ""),
    "ratio_asyncua": ("our source is cheaper by a factor of", ""),
    "server_notifications_per_s": ("the server can offer, notifications a second", ""),
    "soak_notifications_per_s": ("soak: notifications a second", ""),
    "soak_cpu_share": ("share of one core", "%"),
    "rss_mb_start": ("memory at its start", "MB"),
    "rss_mb_end": ("memory at its end", "MB"),
    "rss_growth_mb_per_hour": ("growth of memory", "MB an hour"),
}
"""What a figure is, and its unit."""


def measure(seconds: float) -> dict[str, float]:
    """Each client for so long, several times. Raises AndonError where one fails."""
    with _serving(PER_MESSAGE) as urls:
        runs = [_run(urls, seconds) for _ in range(RUNS)]
        (bare,) = _client("bare", urls[:1], seconds)
    figures = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    ratio = figures["asyncua_us_per_notification"] / figures["client_us_per_notification"]
    return figures | {
        "ratio_asyncua": ratio,
        "server_notifications_per_s": bare["per_s"],
    }


def soak(minutes: float) -> dict[str, float]:
    """Our source at a fixed rate. Raises AndonError where it fails."""
    with _serving([1000], SOAK_RATE_HZ) as urls:
        (run,) = _client("andon", urls, minutes * MINUTE_S, warm_s=SOAK_WARM_S)
    moments_s, sizes_mb = zip(*run["rss_mb"], strict=True)
    slope = statistics.linear_regression(moments_s, sizes_mb).slope
    return {
        "soak_notifications_per_s": run["per_s"],
        "soak_cpu_share": run["cpu_share"],
        "rss_mb_start": sizes_mb[0],
        "rss_mb_end": sizes_mb[-1],
        "rss_growth_mb_per_hour": slope * HOUR_S,
    }


def profile(seconds: float) -> list[dict[str, Any]]:
    """Where our source's time goes at 1,000 notifications a message: the most costly functions.

    A loop over samples in Python would show as one with 1,000 calls for 1,000 notifications.
    """
    with _serving([1000]) as urls:
        (run,) = _client("andon", urls, seconds, profile=True)
    rows: list[dict[str, Any]] = run["profile"]
    return rows


def _run(urls: Sequence[str], seconds: float) -> dict[str, float]:
    figures = {}
    ours = _client("andon", urls, seconds)
    for ending, run in zip(PER_MESSAGE.values(), ours, strict=True):
        figures[f"client_us_per_notification{ending}"] = run["us_each"]
        figures[f"notifications_per_s{ending}"] = run["per_s"]
    (run,) = _client("asyncua", urls[:1], seconds)
    figures["asyncua_us_per_notification"] = run["us_each"]
    figures["asyncua_notifications_per_s"] = run["per_s"]
    return figures


@contextmanager
def _serving(sizes: Iterable[int], rate_hz: float = 0) -> Iterator[list[str]]:
    """The URLs of a server, while it runs, one for each number of notifications a message.

    rate_hz : notifications a second; 0 is as fast as its client asks
    """
    command = [
        sys.executable, "-m", f"{__name__}.server", "--rate-hz", str(rate_hz), *map(str, sizes),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            urls = server.stdout.readline().decode().split()
            if not urls:
                raise AndonError("the bench's server does not start", "what it said stands above")
            yield urls
        finally:
            server.terminate()


def _client(
    way: str, urls: Sequence[str], seconds: float, *, warm_s: float = WARM_S, profile: bool = False
) -> list[dict[str, Any]]:
    """What a client took on each of these servers, one after the other."""
    tasks = [Task(way, url, warm_s, seconds, profile) for url in urls]
    return client.run("opcua", tasks)
