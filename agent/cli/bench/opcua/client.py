"""A client that is measured, alone in its process: `python -m agent.cli.bench.opcua.client`.

Enters: tasks. Leaves: JSON on stdout, of each: what a notification cost, how many came, its memory
as it went, and where its time went if asked. Fails: as its client does.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import logging
import pstats
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.cli.bench.opcua.ways import WAYS, Taken
from agent.errors import AndonError

READY_S: Final = 60.0
"""The first message must be there by then; kernels may have to be compiled."""
CLOSE_S: Final = 5.0
WARM_LOOK_S: Final = 0.1
WATCH_EVERY_S: Final = 5.0
PAGE_BYTES: Final = resource.getpagesize()
PROFILED: Final = 20
"""Functions of a profile that are shown, the most costly first."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure.

    way : a name in `WAYS`
    warm_s : how long it runs before it is measured
    """

    way: str
    url: str
    warm_s: float
    seconds: float
    profile: bool = False


async def measure(task: Task) -> dict[str, Any]:
    """What it took, from when it is warm."""
    taken = Taken()
    running = asyncio.create_task(WAYS[task.way](task.url, taken))
    try:
        await _warm(running, taken, task.warm_s)
        return await _watch(running, taken, task)
    finally:
        taken.enough.set()
        await asyncio.wait([running], timeout=CLOSE_S)


async def _warm(running: asyncio.Task[None], taken: Taken, warm_s: float) -> None:
    began_s = time.monotonic()
    while not taken.notifications or time.monotonic() - began_s < warm_s:
        await asyncio.wait([running], timeout=min(WARM_LOOK_S, warm_s))
        if running.done():  # it failed, or it would run
            await running
        if time.monotonic() - began_s > READY_S + warm_s:
            raise AndonError(f"no notification within {READY_S:g} s")


async def _watch(running: asyncio.Task[None], taken: Taken, task: Task) -> dict[str, Any]:
    profiler, watched = cProfile.Profile(), [(0.0, _memory_mb())]
    before, began_s, cpu_s = taken.notifications, time.perf_counter(), time.process_time()
    if task.profile:
        profiler.enable()
    while (left_s := task.seconds - (time.perf_counter() - began_s)) > 0:
        await asyncio.wait([running], timeout=min(WATCH_EVERY_S, left_s))
        if running.done():
            await running
        watched.append((time.perf_counter() - began_s, _memory_mb()))
    profiler.disable()
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    notifications = taken.notifications - before
    return {
        "us_per_notification": cpu_s / notifications * 1e6,
        "notifications_per_s": notifications / wall_s,
        "cpu_share": cpu_s / wall_s,
        "rss_mb": watched,
        "profile": _profile(profiler, notifications / 1000) if task.profile else [],
    }


def _profile(profiler: cProfile.Profile, thousands: float) -> list[dict[str, Any]]:
    """The functions that cost most, without those they call, for a thousand notifications."""
    functions: Mapping[Any, Any] = vars(pstats.Stats(profiler))["stats"]
    costly = sorted(functions.items(), key=lambda function: -function[1][2])[:PROFILED]
    return [
        {
            "function": name if file == "~" else f"{_short(file)}:{line} {name}",
            "calls_per_1000": calls / thousands,
            "us_per_1000": own_s / thousands * 1e6,
        }
        for (file, line, name), (_, calls, own_s, _, _) in costly
    ]


def _short(file: str) -> str:
    """A file by its last folders, which say whose it is."""
    return "/".join(Path(file).parts[-3:])


def _memory_mb() -> float:
    """Resident, of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 2**20


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    tasks = [Task(**task) for task in json.loads(sys.argv[1])]
    sys.stdout.write(json.dumps([asyncio.run(measure(task)) for task in tasks]))
