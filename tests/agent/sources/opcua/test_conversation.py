"""What goes on over sessions that are lost: nothing substituted, doubled, or silently lost."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest

from agent.config import OpcuaConfig
from agent.errors import SourceUnreachable
from agent.signals import Signal
from agent.sources.opcua import OpcuaSource
from agent.sources.opcua.history import Span
from agent.sources.opcua.wire import Items
from tests.agent.sources.opcua.machine import config_of, signal_of
from tests.agent.sources.opcua.played import Listener, PlayedServer, listening

NODE_UNKNOWN = 0x8034_0000
HOUR_NS = 3_600_000_000_000


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sources.opcua.HEAL_FIRST_S", 0.05)
    monkeypatch.setattr("agent.sources.opcua.HEAL_LOOK_S", 0.01)
    monkeypatch.setattr("agent.sources.opcua.publishing.LISTEN_S", 0.02)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> PlayedServer:
    """Knows v0 and v1."""
    server = PlayedServer("v0", "v1")
    monkeypatch.setattr("agent.sources.opcua.open_session", server.open_session)
    return server


def given(*names: str, **options: Any) -> tuple[OpcuaConfig, list[tuple[int, Signal]]]:
    signals = [signal_of(name, node=f"ns=2;s={name}") for name in names]
    return config_of("opc.tcp://played:1", signals, **options), list(enumerate(signals))


def source_of(*names: str, **options: Any) -> OpcuaSource:
    return OpcuaSource(*given(*(names or ("v0", "v1")), **options))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


async def begun(listener: Listener) -> None:
    """First values came, and their silence is vouched for."""
    await listener.until(
        lambda: listener.values(0) and listener.batches[-1].alive_until_ns, "first values"
    )


async def told(listener: Listener, signal: int, value: float) -> None:
    await listener.until(
        lambda: value in listener.values(signal), f"{value} of {signal} never came"
    )


def lost_with(server: PlayedServer, *values: float) -> None:
    """Messages that do not arrive, then the connection is lost."""
    for value in values:
        server.write("v0", value)
        server.publish(lost=True)
    server.session.cut()


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
            for tries in (2, 3, 4):  # the item is taken each time, and Bad again
                began_s = time.monotonic()
                await listener.until(lambda n=tries: len(server.created) >= n, "not tried again")
                server.tell("v1", NODE_UNKNOWN)
            assert time.monotonic() - began_s > 0.15, "0.05, 0.1, 0.2 s"

    run(test())


def test_messages_that_did_not_arrive_are_sent_again(server: PlayedServer) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            for value in (10.0, 11.0):
                server.write("v0", value)
                server.publish(lost=True)
            server.write("v0", 12.0)
            await told(listener, 0, 12.0)
            assert listener.values(0) == [0.0, 10.0, 11.0, 12.0]
            assert source.recovered() == {"republished": 2}
            assert source.missed() == {}

    run(test())


def test_after_messages_that_are_gone_all_values_are_asked_for_anew(server: PlayedServer) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.write("v1", 20.0)
            server.publish(lost=True)
            for one in server.subscriptions.values():
                one.retained.clear()
            server.write("v0", 10.0)
            await told(listener, 0, 10.0)
            await listener.lost()
            assert source.missed() == {"message": 1}
            assert "values are asked for anew" in str(listener.error)
        async with listening(server, source) as listener:
            await told(listener, 1, 20.0)  # else it would be said to be 1.0 until it changes

    run(test())


def test_a_server_that_loses_messages_all_the_time_is_not_left_all_the_time(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        source._known.renewable_s = time.monotonic() + 1000
        async with listening(server, source) as listener:
            await begun(listener)
            server.write("v1", 20.0)
            server.publish(lost=True)
            for one in server.subscriptions.values():
                one.retained.clear()
            server.write("v0", 10.0)
            await told(listener, 0, 10.0)
            server.write("v0", 11.0)
            await told(listener, 0, 11.0)
            assert source.missed() == {"message": 1}

    run(test())


def test_a_subscription_that_goes_on_says_what_held_then_what_was_missed_then_what_is_new(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            lost_with(server, 10.0, 11.0)
            await listener.lost()
        async with listening(server, source) as listener:
            server.write("v0", 12.0)
            await told(listener, 0, 12.0)
            assert listener.values(0) == [0.0, 10.0, 11.0, 12.0]
            assert listener.values(1) == [1.0]
            times = listener.column(0, "time_ns")
            assert times == sorted(times)
            assert len(server.subscriptions) == 1
            assert source.recovered() == {"held": 2, "republished": 2}
            assert source.missed() == {}

    run(test())


def test_where_messages_are_gone_a_new_one_begins_and_what_is_behind_them_is_of_the_outage(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            lost_with(server, 10.0, 11.0, 12.0)
            (old,) = server.subscriptions.values()
            del old.retained[sorted(old.retained)[-2]]
            await listener.lost()
        async with listening(server, source) as listener:
            await told(listener, 0, 12.0)
            assert listener.values(0) == [10.0, 12.0]
            assert source.missed() == {"outage": 1}, "11 is lost"
            assert old.number not in server.subscriptions

    run(test())


def test_what_came_but_was_not_taken_is_not_lost_with_the_connection(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            publisher = source._conversation.publisher  # type: ignore[union-attr]
            publisher.lose("its last publication comes only now")
            server.write("v0", 10.0)
            server.publish()
            server.session.cut()
            async with asyncio.timeout(5):
                while not len(publisher):
                    await asyncio.sleep(0)
            task = asyncio.create_task(source.close())
            await task
        async with listening(server, source) as listener:
            server.write("v0", 11.0)
            await told(listener, 0, 11.0)
            assert 10.0 in listener.values(0)
            assert source.missed() == {}

    run(test())


def test_one_that_never_speaks_among_several_is_not_taken_over_again(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.publishing.SILENT_S", 0.1)
    monkeypatch.setattr("agent.sources.opcua.conversation.RESUMED_SILENT_S", 0.1)

    async def test() -> None:
        source = source_of(items_max=1)
        async with listening(server, source) as listener:
            await begun(listener)
            first = list(server.subscriptions)
            server.subscriptions[first[1]].is_mute = True
            for _ in range(2):  # fell silent; then was taken over, and never spoke
                await listener.until(lambda: listener.error, "it is not noticed")
                await source.close()
                listener.error = None
                await source.connect()
                task = asyncio.create_task(listener._run())
            await listener.until(lambda: listener.batches[-1].alive_until_ns, "vouched for")
            assert not set(first) & set(server.subscriptions), "they are replaced"
            server.write("v1", 20.0)
            await told(listener, 1, 20.0)
            await source.close()
            await task

    run(test())


class PlayedHistory:
    """Every signal had the value 50 in the middle of its outage; it may break off."""

    waits = asyncio.Event()

    def __init__(self, *_: Any, **__: Any) -> None:
        self.filled: set[int] = set()
        self.failed: dict[int, str] = {}
        self.broken: set[int] = set()

    async def fill(self, spans: Sequence[Span]) -> AsyncIterator[Items]:
        for span in spans:
            if not self.waits.is_set():
                self.waits.set()
                raise ConnectionError("cut")
            self.filled.add(span.handle)
            time_ns = np.array([span.after_ns + 1000], np.int64)
            handle = np.array([span.handle], np.int64)
            yield Items(handle, time_ns, np.array([50.0]), np.zeros(1, np.uint32))


def test_what_the_old_session_had_comes_first_then_history_then_what_is_new(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.conversation.Filler", PlayedHistory)
    PlayedHistory.waits.set()

    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            lost_with(server, 10.0, 11.0, 12.0)
            (old,) = server.subscriptions.values()
            del old.retained[sorted(old.retained)[-2]]
            await listener.lost()
        async with listening(server, source) as listener:
            await told(listener, 0, 12.0)
            assert listener.values(0) == [10.0, 50.0, 12.0]
            assert source.missed() == {}
            assert source.recovered() == {"republished": 1, "history": 2}

    run(test())


def test_a_connection_lost_while_history_is_read_loses_neither_history_nor_first_values(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.conversation.Filler", PlayedHistory)
    PlayedHistory.waits.clear()

    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.session.cut()
            await listener.lost()
        server.transfers = False
        server.write("v0", 10.0)
        async with listening(server, source) as listener:
            await listener.lost()
            assert listener.batches == []
        server.transfers = True  # but nothing live was read
        async with listening(server, source) as listener:
            await told(listener, 0, 10.0)
            await told(listener, 1, 1.0)
            assert listener.values(0) == [50.0, 10.0]
            assert source.missed() == {}

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


def test_a_restarted_agent_counts_its_outage_though_its_first_beginning_fails(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        source.remember([], time.time_ns() - 60_000_000_000)
        server.fails["create_monitored_items"] = TimeoutError()
        with pytest.raises(SourceUnreachable):
            await source.connect()
        async with listening(server, source) as listener:
            await begun(listener)
            assert source.missed() == {"outage": 2}  # both changed since

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


def test_where_the_servers_clock_went_back_all_begins_anew_and_is_vouched_for(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.offset_ns = -HOUR_NS
            await listener.until(lambda: listener.error, "the jump is not noticed")
            await source.close()
        async with listening(server, source) as listener:
            await begun(listener)
            assert listener.batches[-1].alive_until_ns < server.now_ns
            assert len(listener.values(0)) == len(listener.values(1)) == 1

    run(test())


def test_a_transfer_that_is_not_answered_is_not_tried_for_ever(
    server: PlayedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.session.cut()
            await listener.lost()
        server.fails["transfer_subscriptions"] = TimeoutError()
        async with listening(server, source) as listener:
            await begun(listener)

    with caplog.at_level(logging.ERROR, "andon"):
        run(test())
    assert caplog.messages == []
