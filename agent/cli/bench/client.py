"""A client that is measured, alone in its process: `python -m agent.cli.bench.client`.

Enters: the wire, a folder beside this file whose `ways.py` has the clients, and tasks. Leaves: JSON
on stdout, of each task: what one of what it counts cost, how many came, its memory as it went, what
other processes cost meanwhile, and where its time went if asked. Fails: as its client does.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import logging
import os
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from agent.cli.bench.counts import Counts
from agent.errors import AndonError

READY_S: Final = 60.0
"""The first message must be there by then; kernels may have to be compiled."""
PATIENCE_S: Final = 120.0
"""So much longer than it should take, a client is given up."""
CLOSE_S: Final = 5.0
WARM_LOOK_S: Final = 0.1
WATCH_EVERY_S: Final = 5.0
PAGE_BYTES: Final = resource.getpagesize()
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PROFILED: Final = 20
"""Functions of a profile that are shown, the most costly first."""


@dataclass(slots=True)
class Taken:
    """What has arrived, and whether it is enough.

    counts : what client and publisher tell each other, where there is a publisher
    """

    number: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    counts: Counts | None = None

    def add(self, number: int) -> None:
        """So many more have arrived."""
        self.number += number
        if self.counts is not None:
            self.counts.taken = self.number

    def begin(self) -> None:
        """Whatever is sent from now on arrives here."""
        if self.counts is not None:
            self.counts.begun = 1


Way = Callable[[str, Taken], Coroutine[Any, Any, None]]
"""A client: reads a URL until it is told to end."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure.

    way : a name in the wire's `WAYS`
    warm_s : how long it runs before it is measured
    others : processes that are measured beside it, by what they are called
    counts : the file of `Counts`
    """

    way: str
    url: str
    warm_s: float
    seconds: float
    profile: bool = False
    others: Mapping[str, int] = field(default_factory=dict)
    counts: str = ""


def run(wire: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """What a process of its own took for these tasks, one after the other. Raises AndonError."""
    command = [sys.executable, "-m", __name__, wire, json.dumps([asdict(task) for task in tasks])]
    patience_s = sum(task.warm_s + task.seconds + PATIENCE_S for task in tasks)
    try:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=patience_s)
    except subprocess.SubprocessError as error:
        ways = ", ".join(dict.fromkeys(task.way for task in tasks))
        raise AndonError(
            f"the measured client ({ways}) failed: {error}", "what it said stands above"
        ) from error
    figures: list[dict[str, Any]] = json.loads(done.stdout)
    return figures


def tell_profile(rows: Sequence[Mapping[str, Any]], what: str) -> Iterator[str]:
    """A profile for a person, a line a function."""
    yield f"of 1,000 {what}:"
    yield f"{'us':>10}{'calls':>10}  function"
    for row in rows:
        yield f"{row['us_per_1000']:>10,.1f}{row['calls_per_1000']:>10,.2f}  {row['function']}"


async def measure(way: Way, task: Task) -> dict[str, Any]:
    """What it took, from when it is warm."""
    taken = Taken(counts=Counts(Path(task.counts)) if task.counts else None)
    running = asyncio.create_task(way(task.url, taken))
    try:
        await _warm(running, taken, task.warm_s)
        return await _watch(running, taken, task)
    finally:
        taken.enough.set()
        await asyncio.wait([running], timeout=CLOSE_S)


async def _warm(running: asyncio.Task[None], taken: Taken, warm_s: float) -> None:
    began_s = time.monotonic()
    while not taken.number or time.monotonic() - began_s < warm_s:
        await asyncio.wait([running], timeout=min(WARM_LOOK_S, warm_s))
        if running.done():  # it failed, or it would run
            await running
        if time.monotonic() - began_s > READY_S + warm_s:
            raise AndonError(f"nothing has arrived within {READY_S:g} s")


async def _watch(running: asyncio.Task[None], taken: Taken, task: Task) -> dict[str, Any]:
    profiler, watched = cProfile.Profile(), [(0.0, _memory_mb())]
    before = _spent(taken, task)
    if task.profile:
        profiler.enable()
    began_s = time.perf_counter()
    while (left_s := task.seconds - (time.perf_counter() - began_s)) > 0:
        await asyncio.wait([running], timeout=min(WATCH_EVERY_S, left_s))
        if running.done():
            await running
        watched.append((time.perf_counter() - began_s, _memory_mb()))
    profiler.disable()
    after = _spent(taken, task)
    spent = {name: after[name] - before[name] for name in before}
    number = spent["taken"]
    if not number:
        raise AndonError(f"nothing has arrived in the {task.seconds:g} s that were measured")
    return {
        "us_each": spent["cpu_s"] / number * 1e6,
        "per_s": number / spent["wall_s"],
        "cpu_share": spent["cpu_s"] / spent["wall_s"],
        "sent_per_s": spent["sent"] / spent["wall_s"],
        "others_cpu_share": {name: spent[name] / spent["wall_s"] for name in task.others},
        "rss_mb": watched,
        "profile": _profile(profiler, number / 1000) if task.profile else [],
    }


def _spent(taken: Taken, task: Task) -> dict[str, float]:
    """Where all counters stand."""
    others = {name: _cpu_s(process) for name, process in task.others.items()}
    return others | {
        "wall_s": time.perf_counter(),
        "cpu_s": time.process_time(),
        "taken": taken.number,
        "sent": taken.counts.sent if taken.counts is not None else 0,
    }


def _cpu_s(process: int) -> float:
    """What a process has used of the processor: utime and stime of proc_pid_stat(5)."""
    rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) * TICK_S


def _profile(profiler: cProfile.Profile, thousands: float) -> list[dict[str, Any]]:
    """The functions that cost most, without those they call, for a thousand."""
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


def _main(wire: str, tasks: str) -> None:
    logging.basicConfig(level=logging.ERROR)
    ways: Mapping[str, Way] = import_module(f"agent.cli.bench.{wire}.ways").WAYS
    done = [Task(**task) for task in json.loads(tasks)]
    sys.stdout.write(json.dumps([asyncio.run(measure(ways[task.way], task)) for task in done]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
