"""Changed signals on a living subscription."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial

import pytest

from agent.sources.opcua import OpcuaSource
from agent.sources.opcua.session import Limits
from agent.sources.opcua.wire import Publication
from hardware.line.opcua import Variable
from tests.agent.sources.opcua.machine import Machine, column, config_of, signal_of, source_of
from tests.conformance.source import (
    DEADLINE_S,
    Read,
    alive,
    applied,
    connected,
    read_until,
    values,
)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    names = ["ram_force", "other", *(f"number_{i}" for i in range(8))]
    machine = Machine([Variable("press-01", name) for name in names])
    yield machine
    machine.stop()


def test_what_came_of_a_removed_signal_is_read_and_keeps_its_id(
    machine: Machine,
) -> None:
    async def run() -> None:
        both = [(3, signal_of("ram_force")), (8, signal_of("other"))]
        config = config_of(machine.url, [signal for _, signal in both])
        source = OpcuaSource(config, both)
        await machine.write("other", 41.0)
        async with connected(source):
            publisher = source._conversation.publisher  # type: ignore[union-attr]
            async with asyncio.timeout(DEADLINE_S):
                while not any(isinstance(c, Publication) and c.data for c in publisher._came):
                    await publisher._news.wait()
                    publisher._news.clear()
            removing = asyncio.create_task(source.apply(config, both[:1]))
            over, _ = await asyncio.wait([removing], timeout=0.5)
            assert not over, "nobody has read it yet"
            read = await read_until(source, lambda read: removing.done())
            assert await removing
            assert column(read, 8, "value") == [41.0]

    asyncio.run(run())


def test_a_bad_node_that_is_added_is_said_and_one_that_has_come_into_being_is_read(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        signals = [signal_of("ram_force"), signal_of("added_gone"), signal_of("other")]
        numbered = list(enumerate(signals))
        await machine.write("other", 42.0)
        source = source_of(machine.url)
        async with connected(source):
            read: Read = []
            for _ in range(2):
                change = source.apply(config_of(machine.url, signals), numbered)
                assert await applied(source, change, read)
            read += await read_until(source, lambda read: len(alive(read)) > 1)
            assert 42.0 in column(read, 2, "value")

    with caplog.at_level(logging.WARNING, "andon"):
        asyncio.run(run())
    said_of = [record.getMessage() for record in caplog.records]
    (said,) = [one for one in said_of if "not delivered" in one]
    assert "1 of 3 signals are not delivered: press-01/added_gone" in said


def test_many_signals_are_added_and_removed_in_calls_of_a_size_that_servers_take(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.session.Limits", partial(Limits, 3))
    names = ["ram_force", "other", *(f"number_{i}" for i in range(8))]

    async def run() -> None:
        signals = [(number, signal_of(name)) for number, name in enumerate(names)]
        source = source_of(machine.url)
        config = config_of(machine.url, [signal for _, signal in signals])
        async with connected(source):
            assert await source.apply(config, signals)
            read = await read_until(source, lambda read: len(values(read)) == len(names))
            assert {int(n) for batch, _ in read for n in batch.signal} == set(range(len(names)))
            assert await source.apply(config, signals[5:])
            moved = [(5, signal_of("other")), *signals[6:]]
            assert await source.apply(config, moved)  # an id that now stands for another node
            await machine.write("other", 43.0)
            await machine.write("ram_force", 44.0)
            read = await read_until(source, lambda read: 43.0 in values(read))
            assert column(read, 5, "value")[-1] == 43.0
            assert 44.0 not in values(read)

    asyncio.run(run())


def test_without_handles_left_a_change_needs_a_new_subscription(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        signals = [signal_of("ram_force"), signal_of("other")]
        source = source_of(machine.url)
        async with connected(source):
            monkeypatch.setattr("agent.sources.opcua.subscription.HANDLES_MAX", 2)
            config = config_of(machine.url, signals)
            assert not await source.apply(config, list(enumerate(signals)))

    asyncio.run(run())
