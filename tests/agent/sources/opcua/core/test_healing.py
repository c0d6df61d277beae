"""Nodes that are missing, come and go: told once, read again, and no others disturbed."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial

import pytest

from agent.errors import SourceUnreachable
from tests.agent.sources.opcua.core.played import PlayedServer, listening
from tests.agent.sources.opcua.core.source import begun, given, run, source_of, told

NODE_UNKNOWN = 0x8034_0000
HOUR_NS = 3_600_000_000_000


def has_tried(server: PlayedServer, tries: int) -> bool:
    return len(server.created) >= tries


def test_a_missing_node_is_told_once_by_its_status_and_read_when_it_appears(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        began_ns = time.time_ns()
        source = source_of("v0", "late")
        async with listening(server, source) as listener:
            tries = len(server.created) + 3
            await listener.until(lambda: len(server.created) >= tries, "it is not tried again")
            assert listener.column(1, "status") == [NODE_UNKNOWN]
            assert math.isnan(listener.values(1)[0])
            assert listener.column(1, "time_ns")[0] >= began_ns
            server.values["late"] = 7.0, began_ns - HOUR_NS
            await told(listener, 1, 7.0)
            first_ns, then_ns = listener.column(1, "time_ns")
            assert then_ns > first_ns

    run(test())


def test_a_node_that_is_back_is_not_taken_for_unchanged_since_before_the_outage(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of("v0", "v1")
        async with listening(server, source) as listener:
            await begun(listener)
            server.session.cut()
            await listener.lost()
        server.transfers = False
        was = server.values.pop("v1")
        async with listening(server, source) as listener:
            await listener.until(lambda: listener.column(1, "status"), "it is not told")
            server.values["v1"] = was  # the same value, of the same time
            await told(listener, 1, 1.0)
            times = listener.column(1, "time_ns")
            assert times == sorted(times), "it would be Bad for ever"

    run(test())


def test_a_node_deleted_while_it_is_read_is_told_once_and_read_when_it_is_back(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        async with listening(server, source_of()) as listener:
            await begun(listener)
            del server.values["v1"]
            server.tell("v1", NODE_UNKNOWN)
            tries = len(server.created) + 3
            await listener.until(lambda: len(server.created) >= tries, "it is not tried again")
            assert listener.column(1, "status") == [0, NODE_UNKNOWN]
            server.values["v1"] = 8.0, time.time_ns()
            await told(listener, 1, 8.0)
            assert listener.values(0) == [0.0]

    run(test())


def test_a_node_that_the_server_only_says_is_gone_is_asked_for_ever_more_rarely(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.HEAL_MAX_S", 1e9)

    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.tell("v1", NODE_UNKNOWN)
            for _ in range(3):  # the item is taken each time, and Bad again
                began_s, tries = time.monotonic(), len(server.created) + 1
                await listener.until(partial(has_tried, server, tries), "it is not tried again")
                server.tell("v1", NODE_UNKNOWN)
            assert time.monotonic() - began_s > 0.15, "0.05, 0.1, 0.2 s"

    run(test())


def test_a_node_that_is_exchanged_is_read_on_at_once_though_others_stay_missing(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.HEAL_FIRST_S", 1e9)

    async def test() -> None:
        async with listening(server, source_of("v0", "v1", "never")) as listener:
            await begun(listener)
            server.tell("v1", NODE_UNKNOWN)
            server.values["v1"] = 8.0, time.time_ns()
            await told(listener, 1, 8.0)

    run(test())


@pytest.mark.parametrize("error", [ConnectionError("cut"), TimeoutError()])
def test_items_that_were_created_without_an_answer_deliver_nothing_twice(
    server: PlayedServer, error: BaseException
) -> None:
    async def test() -> None:
        source = source_of("v0", "late")
        async with listening(server, source) as listener:
            await begun(listener)
            server.values["late"] = 7.0, time.time_ns()
            server.fails_after["create_monitored_items"] = error
            await listener.until(lambda: listener.error, "the loss is not noticed")
            await source.close()
        async with listening(server, source) as listener:
            await listener.until(lambda: 7.0 in listener.values(1), "it is not read")
            server.write("late", 8.0)
            await told(listener, 1, 8.0)
            assert listener.values(1).count(8.0) == 1
            assert sum(len(one.items) for one in server.subscriptions.values()) == 2

    run(test())


def test_subscriptions_of_a_beginning_that_failed_are_not_left_at_the_server(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        for _ in range(3):
            server.fails["create_monitored_items"] = TimeoutError()
            with pytest.raises(SourceUnreachable):
                await source.connect()
            await source.close()
        assert server.subscriptions == {}

    run(test())


def test_a_signal_that_is_asked_for_otherwise_long_after_an_outage_was_not_missed_in_it(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.session.cut()
            await listener.lost()
        server.transfers = False
        async with listening(server, source) as listener:
            await begun(listener)
            server.write("v0", 10.0)
            await told(listener, 0, 10.0)
            taken = asyncio.create_task(source.apply(*given("v0", "v1", queue_size=7)))
            await listener.until(taken.done, "it is not applied")
            assert await taken
            await listener.until(lambda: len(listener.values(1)) == 2, "its value is not told")
            assert source.missed() == {}
            for signal in (0, 1):
                times = listener.column(signal, "time_ns")
                assert times == sorted(set(times)), "said twice"

    run(test())
