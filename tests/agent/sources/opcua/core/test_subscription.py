"""What is asked for of monitored items, and what becomes of what a server refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from asyncua import ua

from agent.config import OpcuaConfig
from agent.signals import Signal
from agent.sources.opcua.publishing import Publisher
from agent.sources.opcua.reading import Known, Reading
from agent.sources.opcua.session import Limits
from agent.sources.opcua.subscription import Missing, Subscriptions
from tests.agent.sources.opcua.core.played import PlayedServer, PlayedSession
from tests.agent.sources.opcua.machine import config_of, signal_of

NAMES = [f"v{n}" for n in range(8)]


def signals_of(names: Sequence[str] = NAMES, kind: str = "analog") -> list[tuple[int, Signal]]:
    return list(enumerate(signal_of(name, kind, f"ns=2;s={name}") for name in names))


def config(numbered: Sequence[tuple[int, Signal]], **options: Any) -> OpcuaConfig:
    return config_of("opc.tcp://played:1", [signal for _, signal in numbered], **options)


class Followed:
    """Subscriptions at a played server."""

    def __init__(self, server: PlayedServer, **options: Any) -> None:
        self.server = server
        self.reading = Reading(Known())
        session: Any = PlayedSession(server)
        self.subscriptions = Subscriptions(
            session, Publisher("press", session), self.reading, config(signals_of(), **options)
        )

    async def follow(self, signals: Sequence[tuple[int, Signal]] = ()) -> dict[int, Missing]:
        """Why some of these are missing."""
        return await self.subscriptions.follow(signals or signals_of())

    def monitored(self) -> list[list[str]]:
        """Names of what each subscription at the server monitors."""
        return [
            [item.ItemToMonitor.NodeId.Identifier for item in one.items.values()]
            for one in self.server.subscriptions.values()
        ]

    def asked(self, name: str) -> Any:
        """What was asked for of a variable."""
        (found,) = [
            item.RequestedParameters
            for one in self.server.subscriptions.values()
            for item in one.items.values()
            if item.ItemToMonitor.NodeId.Identifier == name
        ]
        return found


def followed(server: PlayedServer, **options: Any) -> tuple[Followed, dict[int, Missing]]:
    async def run() -> tuple[Followed, dict[int, Missing]]:
        one = Followed(server, **options)
        return one, await one.follow()

    return asyncio.run(run())


def test_no_call_asks_for_more_items_than_the_server_takes_in_one() -> None:
    server = PlayedServer(*NAMES)
    server.limits = Limits(items_per_call_max=3)
    one, missing = followed(server)
    assert server.created == [3, 3, 2]
    assert (one.monitored(), missing) == ([NAMES], {})


def test_a_subscription_gets_no_more_items_than_the_configuration_says() -> None:
    one, missing = followed(PlayedServer(*NAMES), items_max=3)
    assert (one.monitored(), missing) == ([NAMES[:3], NAMES[3:6], NAMES[6:]], {})


def test_where_the_server_takes_fewer_items_in_one_subscription_there_are_more_of_them() -> None:
    server = PlayedServer(*NAMES)
    server.items_max = 3
    one, missing = followed(server)
    assert missing == {}
    assert sorted(chain(*one.monitored())) == NAMES
    assert [len(names) for names in one.monitored()] == [3, 3, 2]


def test_what_a_full_server_does_not_take_is_missing_and_the_others_are_read() -> None:
    server = PlayedServer(*NAMES)
    server.items_max, server.subscriptions_max = 3, 2
    one, missing = followed(server)
    assert sorted(missing) == [6, 7]
    assert {m.status for m in missing.values()} == {ua.StatusCodes.BadTooManySubscriptions}
    assert [len(names) for names in one.monitored()] == [3, 3]


def test_a_server_without_any_room_ends_the_asking() -> None:
    server = PlayedServer(*NAMES)
    server.items_max = 0
    _, missing = followed(server)
    assert {m.why for m in missing.values()} == {"BadTooManyMonitoredItems"}
    assert len(server.subscriptions) == 1


def test_a_call_that_is_too_large_is_halved_and_nothing_asked_for_twice() -> None:
    server = PlayedServer(*NAMES)
    server.call_max = 2
    one, missing = followed(server)
    assert server.created == [8, 4, 2, 2, 2, 2]
    assert (one.monitored(), missing) == ([NAMES], {})


def test_one_item_that_is_too_large_by_itself_stops_no_other() -> None:
    server = PlayedServer(*NAMES)
    server.too_large = "v3"
    one, missing = followed(server)
    assert {n: m.why for n, m in missing.items()} == {3: "BadTooManyOperations"}
    assert sorted(chain(*one.monitored())) == [name for name in NAMES if name != "v3"]


def test_sampling_queue_and_deadband_are_asked_for_signal_by_signal() -> None:
    own: dict[str, dict[str, Any]] = {
        "v1": {"sampling_interval_ms": 20, "queue_size": 7},
        "v2": {"deadband": {"absolute": 0.5}},
        "v3": {"deadband": {"percent": 2.0}},
    }
    options = tuple({"name": n, "node": f"ns=2;s={n}", **own.get(n, {})} for n in NAMES)
    one, _ = followed(
        PlayedServer(*NAMES), signals=options, sampling_interval_ms=40, queue_size=9,
        trigger="status_value_timestamp",
    )  # fmt: skip
    asked = {name: one.asked(name) for name in NAMES}
    assert (asked["v0"].SamplingInterval, asked["v0"].QueueSize) == (40, 9)
    assert (asked["v1"].SamplingInterval, asked["v1"].QueueSize) == (20, 7)
    deadbands = [(asked[n].Filter.DeadbandType, asked[n].Filter.DeadbandValue) for n in NAMES[:4]]
    assert deadbands == [(0, 0.0), (0, 0.0), (1, 0.5), (2, 2.0)]
    triggers = {filter_.Filter.Trigger for filter_ in asked.values()}
    assert triggers == {ua.DataChangeTrigger.StatusValueTimestamp}
    assert all(one.DiscardOldest for one in asked.values())
    assert len({one.ClientHandle for one in asked.values()}) == len(NAMES)


def test_a_deadband_that_the_server_has_not_is_left_out_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = PlayedServer(*NAMES)
    server.deadbands = False
    deadband = {"absolute": 1.0}
    options = tuple({"name": n, "node": f"ns=2;s={n}", "deadband": deadband} for n in NAMES)
    with caplog.at_level(logging.WARNING, "andon"):
        one, missing = followed(server, signals=options)
    assert missing == {}
    assert {one.asked(name).Filter.DeadbandType for name in NAMES} == {0}
    (said,) = caplog.messages
    assert "has no such deadband for 8 items" in said


def test_queues_too_short_for_an_interval_are_said(caplog: pytest.LogCaptureFixture) -> None:
    server = PlayedServer(*NAMES)
    server.queue_max = 1
    with caplog.at_level(logging.WARNING, "andon"):
        followed(server, sampling_interval_ms=10)  # published every 50 ms
    (said,) = caplog.messages
    assert "keeps fewer samples than were asked for of 8 items" in said


def test_a_refused_signal_keeps_its_handle_until_it_is_taken_and_no_other_gets_it() -> None:
    async def run() -> None:
        server = PlayedServer("v0")
        one = Followed(server)
        assert sorted(await one.follow(signals_of(["v0", "v1"]))) == [1]
        for _ in range(3):
            await one.follow(signals_of(["v0", "v1"]))
        assert len(one.reading) == 2
        server.values["v1"] = (1.0, 1)
        assert await one.follow(signals_of(["v0", "v1"])) == {}
        assert one.asked("v1").ClientHandle == 1
        assert await one.follow([(1, signal_of("v1", "text", "ns=2;s=v1"))]) == {}  # read otherwise
        assert one.asked("v1").ClientHandle == 2
        assert one.monitored() == [["v1"]]

    asyncio.run(run())


def test_a_refused_waveform_that_changes_its_rate_is_read_at_the_new_one() -> None:
    async def run() -> None:
        server = PlayedServer()
        one = Followed(server)
        for rate_hz in (100.0, 200.0):
            option = {"name": "v0", "node": "ns=2;s=v0", "kind": "waveform", "rate_hz": rate_hz}
            signals = signals_of(["v0"], "waveform")
            one.subscriptions.use(config(signals, signals=(option,)))
            assert len(await one.follow(signals)) == 1
        assert one.reading._rates[0] == 200.0

    asyncio.run(run())


def test_what_is_removed_makes_room_in_its_subscription() -> None:
    async def run() -> None:
        server = PlayedServer(*NAMES)
        one = Followed(server, items_max=4)
        await one.follow()
        signals = signals_of()
        await one.follow(signals[2:])
        await one.follow([*signals[2:], (8, signal_of("v0", node="ns=2;s=v0"))])
        assert one.monitored() == [["v2", "v3", "v0"], ["v4", "v5", "v6", "v7"]]

    asyncio.run(run())
