"""A pipeline with everything around it in memory, and what its tests ask it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from agent.batch import Batch
from agent.config import Config
from agent.derive import DetectSettings
from agent.lines.report import Reporter
from agent.outbox import Commit
from agent.outbox.memory import MemoryOutbox, Store
from agent.pipeline import Pipeline, PipelineSettings
from agent.pipeline.recover import recover
from agent.signals import SECOND_NS, Path, Signal, SignalTable
from agent.sources.memory import MemorySource

PATH = Path("acme", "guiyang", "assembly", "line-1")
START_NS = 1_800_000_000 * SECOND_NS
DEADLINE_S = 10.0
CONFIG = Config.model_validate(
    {
        "gateway": {
            "name": "gw-1",
            "path": {"enterprise": "acme", "site": "guiyang", "area": "assembly", "line": "line-1"},
        },
        "machines": ({"name": "press-01", "model": "Maker 200 t", "order_in_line": 1},),
    }
)


class Outbox(MemoryOutbox):
    """The outbox in memory, which can be told to fail, and notes what was acknowledged when."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(["cloud"], store)
        self.failures: deque[Exception] = deque()
        self.commits: list[Commit] = []
        self.tried = 0
        self.acknowledged_before: list[int] = []
        self.watched: MemorySource | None = None
        self.blocked = threading.Event()
        self.blocked.set()

    def commit(self, commit: Commit) -> None:
        self.tried += 1
        self.blocked.wait(DEADLINE_S)
        if self.watched is not None:
            self.acknowledged_before.append(len(self.watched.acknowledged))
        if self.failures:
            raise self.failures.popleft()
        super().commit(commit)
        self.commits.append(commit)

    def lines(self, measurement: bytes, holding: bytes = b"") -> list[bytes]:
        """The committed lines of one measurement, in order."""
        lines = [line.body for line in self._store.committed.lines.values()]
        return [line for line in lines if line.startswith(measurement + b",") and holding in line]


class Forward:
    """What the pipeline sees of a forwarder."""

    lag_ms = 12.5

    def __init__(self) -> None:
        self.wake = threading.Event()


class Gateway:
    """One pipeline over these sources; a signal `force` of a machine for each."""

    def __init__(
        self,
        *sources: MemorySource,
        outbox: Outbox,
        interval_s: float = 0.02,
        queue: int = 100,
        journal: str = "auto",
    ) -> None:
        self.outbox = outbox
        self.forward = Forward()
        self.table = SignalTable(100, outbox.signals())
        for number, source in enumerate(sources, 1):
            self.table.add(
                Signal(PATH, f"press-{number:02}", "force", source.name, every_ns=SECOND_NS)
            )
        settings = DetectSettings(enabled=False)
        found = recover(outbox, self.table, settings, time.time_ns())
        self.pipeline = Pipeline(
            self.table, sources, found.derive, outbox, [self.forward],
            Reporter(CONFIG, self.table),
            PipelineSettings(queue, interval_s, journal=journal),
            packets=found.packets,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        stop = asyncio.Event()
        running = asyncio.create_task(self.pipeline.run(stop))
        try:
            yield self.pipeline
        finally:
            stop.set()
            await asyncio.wait_for(running, DEADLINE_S)


def batch(second: float, value: float = 0.0, signal: int = 0) -> Batch:
    """One sample, and time vouched up to it."""
    moment_ns = START_NS + round(second * SECOND_NS)
    return Batch(
        np.array([signal], np.int32), np.array([moment_ns]), np.array([value]),
        np.zeros(1, np.uint32), moment_ns, moment_ns,
    )  # fmt: skip


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        await asyncio.sleep(0.005)


def anomalies(outbox: Outbox) -> list[bytes]:
    return outbox.lines(b"anomaly", b"detector=connection")


def windows_of(outbox: Outbox) -> dict[int, bytes]:
    return {int(line.split()[-1]) // SECOND_NS: line for line in outbox.lines(b"window")}
