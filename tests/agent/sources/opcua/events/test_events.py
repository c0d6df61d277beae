"""Events and alarms of a real server, as text and as states."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from asyncua import ua

from agent.sources.opcua import events
from agent.sources.opcua.wire import Publication, WireError
from tests.agent.sources.opcua.events.alarming import HANDLES, Alarming, Listener

EVENTS, STATE = HANDLES[0]
TABLE = {"name": "alarms", "severity_min": 500, "state": "Held", "state_clear": "Execute"}


@pytest.fixture(scope="module")
def module_server() -> Iterator[Alarming]:
    server = Alarming()
    yield server
    server.stop()


@pytest.fixture
def server(module_server: Alarming) -> Iterator[Alarming]:
    yield module_server
    for name in list(module_server._alarms):
        module_server.forget(name)


def listening(
    server: Alarming, what: Callable[[Listener], Awaitable[None]], *tables: dict[str, Any]
) -> None:
    """Do this with a listener of these tables."""

    async def run() -> None:
        listener = Listener(server.url, *(tables or (TABLE,)))
        await listener.open()
        try:
            await what(listener)
        finally:
            await listener.close()

    asyncio.run(run())


def test_an_event_is_one_line_of_text_at_its_own_time(server: Alarming) -> None:
    at = float(int(time.time())) - 5.5

    async def what(listener: Listener) -> None:
        server.event("door\nopened", 600, at=at)
        assert await listener.until(1) == ["severity 600, press: door opened"]
        assert listener.times(EVENTS) == [int(at * 1e9)]

    listening(server, what)


@pytest.mark.parametrize("alarms", [True, False])
def test_events_below_the_least_severity_are_left_out(server: Alarming, alarms: bool) -> None:
    async def what(listener: Listener) -> None:
        server.event("quiet", 499)
        server.event("loud", 500)
        assert await listener.until(1) == ["severity 500, press: loud"]

    listening(server, what, {"name": "alarms", "severity_min": 500, "alarms": alarms})


def test_events_of_one_instant_are_all_told(server: Alarming) -> None:
    at = float(int(time.time()))

    async def what(listener: Listener) -> None:
        for number in range(3):
            server.event(f"number {number}", 600, at=at)
        assert len(await listener.until(3)) == 3
        first_ns = int(at * 1e9)
        assert listener.times(EVENTS) == [first_ns, first_ns + 1, first_ns + 2]

    listening(server, what)


def test_an_alarm_holds_the_machine_until_it_is_over(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        assert await listener.until(1, STATE) == ["Execute"]
        server.alarm("Oil", "oil is low", active=True)
        server.alarm("Oil", "oil is fine", active=False, severity=1)
        assert (await listener.until(3, STATE))[1:] == ["Held: Oil oil is low", "Execute"]
        assert listener.texts(EVENTS) == [
            "severity 700, press: oil is low (Oil active, not acknowledged)"
        ]
        assert listener.times(STATE) == sorted(listener.times(STATE))

    listening(server, what)


def test_the_most_severe_alarm_is_the_reason_and_its_first_message_stays(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        await listener.until(1, STATE)
        server.alarm("Oil", "oil is low", active=True, severity=600)
        server.alarm("Oil", "oil is lower", active=True, severity=600)
        server.alarm("Fire", "smoke", active=True, severity=900)
        server.alarm("Fire", "", active=False, severity=900)
        server.alarm("Oil", "", active=False, severity=600)
        assert (await listener.until(5, STATE))[1:] == [
            "Held: Oil oil is low", "Held: Fire smoke", "Held: Oil oil is low", "Execute",
        ]  # fmt: skip

    listening(server, what)


def test_what_is_not_retained_a_branch_or_not_severe_holds_nothing(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        await listener.until(1, STATE)
        server.alarm("Old", "before", active=True, branch=True)
        server.alarm("Gone", "not kept", active=True, retain=False)
        server.alarm("Quiet", "a little", active=True, severity=100)
        server.alarm("Real", "now", active=True)
        assert (await listener.until(2, STATE))[1:] == ["Held: Real now"]

    listening(server, what)


def test_alarms_of_before_the_subscription_are_known_after_the_refresh(server: Alarming) -> None:
    server.alarm("Oil", "oil is low", active=True, at=time.time() - 3600)

    async def what(listener: Listener) -> None:
        began_ns = time.time_ns()
        assert await listener.until(1, STATE) == ["Held: Oil oil is low"]
        assert listener.times(STATE)[0] > began_ns - 10**9, "the state is that of now"
        assert listener.times(EVENTS)[0] < began_ns - 3000 * 10**9, "the event of then"

    listening(server, what)


def test_a_refresh_that_the_server_asks_for_clears_what_it_does_not_mention(
    server: Alarming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REFRESH_EVERY_S", 0.0)

    async def what(listener: Listener) -> None:
        server.alarm("Oil", "oil is low", active=True)
        server.alarm("Door", "door is open", active=True)
        await listener.until(2)
        server.forget("Oil")
        server.event("all anew", 1, kind=ua.ObjectIds.RefreshRequiredEventType)
        assert (await listener.until(3, STATE))[-1] == "Held: Door door is open"
        assert len(listener.texts(EVENTS)) == 2, "what a refresh tells again is not told twice"

    listening(server, what)


def test_after_a_resumption_the_state_is_told_again_and_events_are_not(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        server.alarm("Oil", "oil is low", active=True)
        await listener.until(2, STATE)
        listener.events.resume(listener.session)
        assert (await listener.until(3, STATE))[2] == "Held: Oil oil is low"
        assert len(listener.texts(EVENTS)) == 1

    listening(server, what)


def test_a_new_subscription_tells_the_state_again(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        assert await listener.until(1, STATE) == ["Execute"]
        await listener.subscribe()
        assert await listener.until(2, STATE) == ["Execute", "Execute"]

    listening(server, what)


def test_a_server_that_cannot_refresh_tells_events_all_the_same_and_it_is_said_once(
    server: Alarming, caplog: pytest.LogCaptureFixture
) -> None:
    async def what(listener: Listener) -> None:
        listener.subscription += 1_000_000  # which no subscription has
        for _ in range(3):
            await listener.events.refresh()
        listener.events._subscription += 1_000_000
        for _ in range(3):
            await listener.events.refresh()
        server.event("still", 600)
        assert await listener.until(1) == ["severity 600, press: still"]

    listening(server, what)
    assert caplog.text.count("does not tell which alarms are active") == 1


def test_a_table_of_a_node_that_does_not_notify_stops_no_other(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        assert listener.events.refused.keys() == {1}
        server.event("still", 600)
        assert await listener.until(1) == ["severity 600, press: still"]

    listening(server, what, TABLE, {"name": "others", "node": "i=2258"})


def test_an_overflow_of_the_servers_queue_is_counted(
    server: Alarming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REFRESH_EVERY_S", 0.0)

    async def what(listener: Listener) -> None:
        server.event("lost some", 600, kind=ua.ObjectIds.EventQueueOverflowEventType)
        await listener.until(1)
        assert listener.overflowed == 1

    listening(server, what)


def test_malformed_bytes_are_an_error_of_their_message(server: Alarming) -> None:
    async def what(listener: Listener) -> None:
        server.event("fine", 600)
        publication = await listener.publish()
        while not publication.events:
            publication = await listener.publish()
        for start, end in publication.events:
            for cut in range(start, end, 3):
                broken = publication.body[:cut] + b"\xff" * 4 + publication.body[cut + 4 :]
                _items(listener, replace(publication, body=broken))
                _items(listener, replace(publication, events=((start, cut),)))
        with pytest.raises(WireError):
            listener.events.items([replace(publication, events=((0, 2 << 20),))], time.time_ns())

    listening(server, what)


def _items(listener: Listener, publication: Publication) -> None:
    """Nothing but WireError comes of it."""
    with suppress(WireError):
        listener.events.items([publication], time.time_ns())
