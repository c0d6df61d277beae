"""A machine side that makes its samples itself, for measuring what comes behind the wire.

Values wander around a level by seeded noise and are rounded to three decimals, as machines do. It
has no wire, so it cannot fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import numpy as np

from agent.batch import Batch, Int32, Int64
from agent.config import Config
from agent.signals import SECOND_NS, Signal, SignalTable
from agent.sources import NO_ACK, Ack, Packets

CONFIG: Final = Config.model_validate(
    {
        "gateway": {
            "name": "bench",
            "path": {"enterprise": "bench", "site": "bench", "area": "bench", "line": "line-1"},
        }
    }
)
DECIMALS: Final = 3
DISTINCT: Final = 64
"""Rows of values made beforehand; making them costs more than all that is measured."""


def add_signals(table: SignalTable, source: str, count: int, every_s: int) -> list[int]:
    """The ids of so many analog signals of this source, fifty a machine."""
    return [
        table.add(
            Signal(
                CONFIG.path, f"machine-{number // 50:03}", f"signal_{number % 50:02}", source,
                every_ns=every_s * SECOND_NS,
            )
        )
        for number in range(count)
    ]  # fmt: skip


class SyntheticSource:
    """Gives each signal one sample every `interval_ns`, in `batches` batches spread over it.

    paced : at the pace of the clock; else as fast as it is taken, until `stop_after` intervals
    """

    redelivers = False
    redelivered = 0

    def __init__(
        self,
        name: str,
        signals: Sequence[int],
        interval_ns: int,
        *,
        batches: int = 1,
        paced: bool = True,
        stop_after: int | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._interval_ns = interval_ns
        self._paced = paced
        self._stop_after = stop_after
        self._done = done
        self._closed = asyncio.Event()
        self._groups = np.array_split(np.array(signals, np.int32), batches)
        random = np.random.default_rng(7)
        level = random.uniform(10, 100, len(signals))
        noise = random.normal(0, 1, (DISTINCT, len(signals)))
        self._values = np.split(
            np.round(level + noise, DECIMALS),
            np.cumsum([len(group) for group in self._groups])[:-1],
            axis=1,
        )

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def remember(self, packets: Sequence[Packets], alive_ns: int = 0) -> None:
        """Nothing is ever sent twice."""

    async def connect(self) -> None:
        """Nothing to connect."""

    async def batches(self) -> AsyncIterator[tuple[Batch, Ack]]:
        """Its samples, one batch a group."""
        start_ns = time.time_ns()
        number = 0
        while not self._closed.is_set() and number != self._stop_after:
            for place, group in enumerate(self._groups):
                moment_ns = start_ns + number * self._interval_ns
                moment_ns += place * self._interval_ns // len(self._groups)
                if self._paced:
                    await self._wait_until(moment_ns)
                yield self._batch(place, group, number, moment_ns), NO_ACK
            number += 1
        self._done()
        await self._closed.wait()

    def rejected(self) -> dict[str, int]:
        """Nothing is."""
        return {}

    missed = recovered = rejected

    async def close(self) -> None:
        """End `batches`."""
        self._closed.set()

    async def _wait_until(self, moment_ns: int) -> None:
        wait_s = (moment_ns - time.time_ns()) / SECOND_NS
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), wait_s)

    def _batch(self, place: int, group: Int32, number: int, moment_ns: int) -> Batch:
        n = len(group)
        times: Int64 = np.full(n, moment_ns)
        return Batch(
            group, times, self._values[place][number % DISTINCT], np.zeros(n, np.uint32),
            received_ns=max(moment_ns, time.time_ns()), alive_until_ns=moment_ns,
        )  # fmt: skip
