"""States of machines on their way to the outbox, over crashes too."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from agent.batch import Batch
from agent.errors import OutboxError
from agent.outbox.memory import Store
from agent.signals import SECOND_NS, Signal
from agent.sources.memory import MemorySource
from tests.agent.pipeline.gateway import PATH, START_NS, Gateway, Outbox, until


def gateway_of(source: MemorySource, outbox: Outbox, journal: str) -> Gateway:
    """Its signal 1 is the state of press-01."""
    gateway = Gateway(source, outbox=outbox, journal=journal)
    gateway.table.add(Signal(PATH, "press-01", "state", "press", kind="text", state=True))
    return gateway


def said(second: float, *texts: str, alive: float) -> Batch:
    n = len(texts)
    time_ns = START_NS + round(second * SECOND_NS)
    return Batch(
        np.ones(n, np.int32), np.full(n, time_ns), np.arange(n, dtype=np.float64),
        np.zeros(n, np.uint32), time_ns, START_NS + round(alive * SECOND_NS), texts,
    )  # fmt: skip


def states(outbox: Outbox) -> list[tuple[float, bytes]]:
    """Begin in seconds, and fields, in the order told."""
    lines = [line.rsplit(b" ", 1) for line in outbox.lines(b"state")]
    return [((int(time) - START_NS) / SECOND_NS, head.split(b" ", 1)[1]) for head, time in lines]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("journal", ["never", "always"])
def test_a_state_is_told_as_it_begins_and_once_it_is_over_even_after_a_crash(journal: str) -> None:
    async def run() -> None:
        store = Store()
        source, outbox = MemorySource("press"), Outbox(store)
        async with gateway_of(source, outbox, journal).running():
            source.feed(said(1, "Execute", alive=2))
            await until(lambda: len(states(outbox)) == 1, "the state")
            source.feed(said(5, "Held: jam", alive=6))
            await until(lambda: len(states(outbox)) == 3, "the next state")
            commits = len(outbox.commits)
            source.feed(said(7, alive=8), said(7.5, "Held: jam", alive=9))
            await until(lambda: len(outbox.commits) > commits, "a commit")
            await until(lambda: len(source.acknowledged) == 4, "all of it committed")
            outbox.failures.extend(OutboxError("the machine is off") for _ in range(10_000))
        outbox = Outbox(store)
        async with gateway_of(MemorySource("press"), outbox, journal).running():
            await until(lambda: len(states(outbox)) == 4, "its end")
        assert states(outbox) == [
            (1, b'state="Execute",reason=""'),
            (1, b'state="Execute",reason="",duration_s=4'),
            (5, b'state="Held",reason="jam"'),
            (5, b'state="Held",reason="jam",duration_s=4'),
        ]

    asyncio.run(run())
