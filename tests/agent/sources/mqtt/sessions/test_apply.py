"""Changed topics on a living connection to mosquitto."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

import pytest

from agent.errors import SourceRefused
from agent.sources.mqtt import MqttSource
from agent.sources.mqtt.connection import Connection
from tests.agent.sources.mqtt.test_source import (
    OTHER_TOPIC,
    TOPIC,
    Numbers,
    clients,
    config_of,
    publisher,
    source_of,
)
from tests.conformance.source import Read, applied, connected, read_until, values


def test_what_came_of_a_removed_topic_is_read_and_what_comes_later_is_said_to_bring_nothing(
    port: int,
) -> None:
    async def run() -> None:
        numbers = Numbers()
        both = config_of(port, topics=(TOPIC, OTHER_TOPIC))
        source = MqttSource(both, next(clients), numbers, numbers.metric)
        with publisher(port) as sensor:
            async with connected(source):
                await sensor.say(1.0, "line-2/press-02/force")
                await read_until(source, lambda read: 1.0 in values(read))
                await sensor.say(2.0, "line-2/press-02/force")
                read: Read = []
                assert await applied(
                    source, source.apply(config_of(port), numbers, numbers.metric), read
                )
                assert values(read) == [2.0]
                assert source.rejected() == {}

    asyncio.run(run())


def test_a_filter_that_a_kept_session_still_has_is_given_up_at_the_next_connect(port: int) -> None:
    async def run() -> None:
        source = source_of(port, topics=(TOPIC, OTHER_TOPIC))
        async with connected(source):
            pass
        assert await source.apply(config_of(port), Numbers(), Numbers().metric)
        async with connected(source):
            pass
        with publisher(port) as sensor:
            await sensor.say(1.0, "line-2/press-02/force")
            await sensor.say(2.0)
            async with connected(source):
                read = await read_until(source, lambda read: 2.0 in values(read))
                assert values(read) == [2.0]
                assert source.rejected() == {}

    asyncio.run(run())


def test_a_topic_that_the_broker_does_not_allow_leaves_everything_as_it_was(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(connection: Connection, *filters: Collection[str]) -> None:
        raise SourceRefused("subscription: Not authorized")

    async def run() -> None:
        source = source_of(port)
        with publisher(port) as sensor:
            async with connected(source):
                monkeypatch.setattr(Connection, "subscribe", refuse)
                other = config_of(port, topics=(OTHER_TOPIC,))
                assert not await source.apply(other, Numbers(), Numbers().metric)
                await sensor.say(1.0)
                await read_until(source, lambda read: 1.0 in values(read))

    with caplog.at_level(logging.WARNING, "andon"):
        asyncio.run(run())
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("floor: topics cannot be changed: ")
    assert "Not authorized" in said
