"""The machine side in memory keeps what applies of what every source must keep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from agent.batch import Batch, empty
from agent.errors import SourceRefused, SourceUnreachable
from agent.sources import Packets, Source
from agent.sources.memory import MemorySource
from tests.conformance.source import SourceConformance, read_until


class Far:
    """Feeds one source; a task vouches for time."""

    def __init__(self) -> None:
        self.one = MemorySource()

    def source(self) -> Source:
        return self.one

    async def say(self, value: float) -> None:
        now_ns = time.time_ns()
        self.one.feed(
            Batch(
                np.zeros(1, np.int32), np.array([now_ns]), np.array([value]),
                np.zeros(1, np.uint32), now_ns,
            )
        )  # fmt: skip

    async def vouch(self) -> None:
        while True:
            now_ns = time.time_ns()
            self.one.feed(empty(now_ns, now_ns))
            await asyncio.sleep(0.01)

    async def go_away(self) -> None:
        self.one.go_away()


class TestMemorySource(SourceConformance):
    def source_at(self, port: int) -> Source:
        source = MemorySource()
        source.refusals.append(SourceUnreachable(f"memory: no answer at {port}", "is it there?"))
        return source

    @asynccontextmanager
    async def far_side(self) -> AsyncIterator[Far]:
        far = Far()
        vouching = asyncio.create_task(far.vouch())
        yield far
        vouching.cancel()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[Source]:
        source = MemorySource()
        source.refusals.append(SourceRefused("memory: it refuses: no", "check the password"))
        yield source


def test_it_notes_which_batches_were_acknowledged_and_fails_as_told() -> None:
    async def run() -> None:
        source = MemorySource()
        source.feed(empty(1, 1), empty(2, 2), ValueError("a mistake"))
        await source.connect()
        read = await read_until(source, lambda read: len(read) == 2)
        read[1][1].call()
        assert source.acknowledged == [1]
        with pytest.raises(ValueError, match="a mistake"):
            await read_until(source, lambda read: False)

    asyncio.run(run())


def test_it_notes_what_it_is_told_and_carries_packets_with_its_batches() -> None:
    async def run() -> None:
        source = MemorySource(redelivers=True)
        packets = Packets(np.array([7], np.uint16), np.array([9], np.uint32))
        source.remember([packets])
        assert await source.apply("new")
        source.applies = False
        assert not await source.apply("newer", 1)
        assert source.remembered == [packets]
        assert source.applied == [("new",), ("newer", 1)]
        source.feed(empty(1, 1), packets=packets)
        await source.connect()
        ((_, ack),) = await read_until(source, lambda read: len(read) == 1)
        assert ack.packets is packets

    asyncio.run(run())
