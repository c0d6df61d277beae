"""What goes on over sessions that are lost: nothing substituted, doubled, or silently lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from agent.errors import SourceUnreachable
from agent.sources.opcua.history import Span
from agent.sources.opcua.wire import Items
from tests.agent.sources.opcua.core.played import PlayedServer, listening
from tests.agent.sources.opcua.core.source import begun, lost_with, run, source_of, told

HOUR_NS = 3_600_000_000_000


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
            await source.close()
            assert len(publisher) == 1
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
    """The first signal had the value 50 in its outage, others did not change; it may break off."""

    breaks_off_after: ClassVar[Callable[[], None] | None] = None

    def __init__(self, *_: Any, **__: Any) -> None:
        self.filled: set[int] = set()
        self.failed: dict[int, str] = {}
        self.broken: set[int] = set()

    async def fill(self, spans: Sequence[Span]) -> AsyncIterator[Items]:
        if (speak := PlayedHistory.breaks_off_after) is not None:
            speak()
            await asyncio.sleep(0)
            raise ConnectionError("cut")
        self.filled.update(span.handle for span in spans)
        for span in spans[:1]:
            time_ns = np.array([span.after_ns + 1000], np.int64)
            handle = np.array([span.handle], np.int64)
            yield Items(handle, time_ns, np.array([50.0]), np.zeros(1, np.uint32))


def test_what_the_old_session_had_comes_first_then_history_then_what_is_new(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.conversation.Filler", PlayedHistory)

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
            assert source.recovered() == {"republished": 1, "history": 1}

    run(test())


def test_a_connection_lost_while_history_is_read_loses_neither_history_nor_first_values(
    server: PlayedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.conversation.Filler", PlayedHistory)

    async def test() -> None:
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            server.session.cut()
            await listener.lost()
        server.transfers = False
        server.write("v0", 10.0)
        monkeypatch.setattr(PlayedHistory, "breaks_off_after", server.publish)
        async with listening(server, source) as listener:
            await listener.lost()
            assert listener.batches == []
        monkeypatch.setattr(PlayedHistory, "breaks_off_after", None)
        server.transfers = True  # but nothing live was read
        async with listening(server, source) as listener:
            await told(listener, 0, 10.0)
            await told(listener, 1, 1.0)
            assert listener.values(0) == [50.0, 10.0]
            assert source.missed() == {}

    run(test())


def test_a_restarted_agent_counts_its_outage_though_its_first_beginning_fails(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        source = source_of()
        source.remember([], time.time_ns() - 60_000_000_000)
        server.write("v0", 10.0)
        server.write("v1", 20.0)
        server.fails["create_monitored_items"] = TimeoutError()
        with pytest.raises(SourceUnreachable):
            await source.connect()
        async with listening(server, source) as listener:
            await begun(listener)
            assert source.missed() == {"outage": 2}  # both changed since

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


def test_a_server_whose_clock_never_was_right_is_read_on_all_the_same(
    server: PlayedServer,
) -> None:
    async def test() -> None:
        server.offset_ns = -25 * 365 * 24 * HOUR_NS  # its battery is empty
        source = source_of()
        async with listening(server, source) as listener:
            await begun(listener)
            lost_with(server, 10.0)
            await listener.lost()
        async with listening(server, source) as listener:
            server.write("v0", 11.0)
            await told(listener, 0, 11.0)
            assert listener.values(0) == [0.0, 10.0, 11.0]
            assert len(server.subscriptions) == 1
            assert source.missed() == {}

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
