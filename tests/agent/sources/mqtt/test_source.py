"""The MQTT source, over a real mosquitto: the connection, the session and its acknowledgements."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path as FilePath
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.config import MqttConfig, TopicConfig
from agent.errors import SignalsFull
from agent.signals import Kind
from agent.sources import Source
from agent.sources.mqtt import SETTLE_S, MqttSource
from agent.sources.mqtt.window import WINDOW_MIN
from hardware.line import broker as broker_module
from hardware.line.broker import Broker, start_broker
from tests.conformance.source import (
    CONNECT_S,
    ApplyConformance,
    Change,
    Read,
    SourceConformance,
    alive,
    connected,
    read_until,
    values,
)

SIGNALS_MAX = 1_000
TOPIC = {"topic": "line-1/{machine}/{signal}", "payload": {"json": {"value": "v", "time": "ts"}}}
OTHER_TOPIC = {**TOPIC, "topic": "line-2/{machine}/{signal}"}
clients = (f"test-{number}" for number in itertools.count())


class Numbers:
    """Ids as a signal table gives them; a signal called `unit` is text."""

    def __init__(self, signals_max: int = SIGNALS_MAX) -> None:
        self.signals_max = signals_max
        self.known: dict[tuple[str, str], int] = {}

    def __call__(
        self, topic: TopicConfig, names: Mapping[str, str], signal: str, unit: str
    ) -> tuple[int, Kind]:
        kind: Kind = "text" if signal == "unit" else topic.kind
        return self.number(topic.machine or names["machine"], signal), kind

    def metric(
        self, group: str, node: str, device: str, metric: str, kind: Kind, unit: str
    ) -> tuple[int, Kind]:
        return self.number(device or node, metric), kind

    def number(self, machine: str, signal: str) -> int:
        if (machine, signal) not in self.known and len(self.known) >= self.signals_max:
            raise SignalsFull(f"{machine}/{signal} is one too many")
        return self.known.setdefault((machine, signal), len(self.known))


def config_of(port: int, **options: Any) -> MqttConfig:
    return MqttConfig.model_validate(
        {
            "name": "floor", "url": f"mqtt://127.0.0.1:{port}", "topics": (TOPIC,),
            "connect_timeout_s": CONNECT_S, **options,
        }
    )  # fmt: skip


def source_of(
    port: int,
    client_id: str = "",
    resolve: Numbers | None = None,
    now_ns: Callable[[], int] = time.time_ns,
    **options: Any,
) -> MqttSource:
    numbers = resolve or Numbers()
    config = config_of(port, **options)
    return MqttSource(config, client_id or next(clients), numbers, numbers.metric, now_ns)


class Publisher:
    """A sensor: publishes at QoS 1 and waits until the broker has it."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    async def say(self, value: object, topic: str = "line-1/press-01/force") -> None:
        now_ms = time.time_ns() // 1_000_000
        await self.send(topic, json.dumps({"v": value, "ts": now_ms}))

    async def send(self, topic: str, payload: str | bytes) -> None:
        said = self._client.publish(topic, payload, qos=1)
        await asyncio.to_thread(said.wait_for_publish, 5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Far:
    """A broker of its own, with a sensor."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._publisher = Publisher(broker.port)
        self._numbers = Numbers()

    def source(self) -> MqttSource:
        return source_of(self.broker.port, resolve=self._numbers)

    async def say(self, value: float) -> None:
        await self._publisher.say(value)

    async def say_other(self, value: float) -> None:
        await self._publisher.say(value, "line-2/press-02/force")

    async def apply(self, source: Source, change: Change) -> bool:
        assert isinstance(source, MqttSource)
        topics = (TOPIC,) if change == "without_other" else (TOPIC, OTHER_TOPIC)
        options = {"keepalive_s": 7} if change == "of_connection" else {}
        config = config_of(self.broker.port, topics=topics, **options)
        return await source.apply(config, self._numbers, self._numbers.metric)

    async def go_away(self) -> None:
        self._publisher.close()
        self.broker.stop()


class TestMqttSource(SourceConformance, ApplyConformance):
    def source_at(self, port: int) -> Source:
        return source_of(port)

    @asynccontextmanager
    async def far_side(self) -> AsyncIterator[Far]:
        far = Far(start_broker("mosquitto"))
        yield far
        await far.go_away()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[Source]:
        with strict_broker() as port:
            yield source_of(port, user="nobody")


@contextmanager
def strict_broker() -> Iterator[int]:
    """A broker that lets nobody in."""
    command = broker_module._command

    def strict(kind: Any, port: int, folder: FilePath, *kept: Any) -> list[str]:
        line = command(kind, port, folder, *kept)
        config = folder / "mosquitto.conf"
        config.write_text(config.read_text().replace("anonymous true", "anonymous false"))
        return line

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker_module, "_command", strict)
        broker = start_broker("mosquitto")
    yield broker.port
    broker.stop()


async def commit(source: MqttSource, read: Read) -> None:
    """Acknowledge, and wait until the broker has it: it answers what comes after in order.

    One that connects at once takes the session over, and what the broker has not read is gone.
    """
    for _, ack in read:
        ack.call()
    assert source._connection is not None
    await source._connection.unsubscribe(["nothing"])


@contextmanager
def publisher(port: int) -> Iterator[Publisher]:
    sensor = Publisher(port)
    yield sensor
    sensor.close()


def test_an_unacknowledged_message_comes_again_and_an_acknowledged_one_does_not(port: int) -> None:
    async def run() -> None:
        client_id = next(clients)
        with publisher(port) as sensor:
            async with connected(source_of(port, client_id)) as source:
                await sensor.say(1.0)
                first = await read_until(source, lambda read: 1.0 in values(read))
                await sensor.say(2.0)
                await read_until(source, lambda read: 2.0 in values(read))
                await commit(source, first)
            async with connected(source_of(port, client_id)) as source:
                read = await read_until(source, lambda read: 2.0 in values(read))
                assert values(read) == [2.0]
                await commit(source, read)
            async with connected(source_of(port, client_id)) as source:
                read = await read_until(source, lambda read: len(alive(read)) > 1)
                assert values(read) == []

    asyncio.run(run())


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_messages_that_may_fill_the_brokers_window_make_the_commit_urgent(
    port: int, version: str
) -> None:
    async def run() -> None:
        with publisher(port) as sensor:
            async with connected(source_of(port, version=version)) as source:
                await sensor.say(-1.0)
                read = await read_until(source, lambda read: -1.0 in values(read))
                assert not any(ack.urgent for _, ack in read)
                for number in range(25):  # by 3.1.1, mosquitto sends 20 and waits
                    await sensor.say(float(number))
                read += await read_until(source, lambda read: read[-1][1].urgent)
                assert len(values(read)) >= WINDOW_MIN // 2
                seen = len(values(read))
                for _, ack in read:
                    ack.call()
                rest = await read_until(source, lambda read: len(values(read)) == 26 - seen)
                assert values(read + rest) == [-1.0, *map(float, range(25))]

    asyncio.run(run())


def test_a_broker_that_sends_far_ahead_hurries_commits_less(port: int) -> None:
    async def run() -> None:
        with publisher(port) as sensor:
            async with connected(source_of(port, version="5")) as source:
                for number in range(100):
                    await sensor.say(float(number))
                read = await read_until(source, lambda read: len(values(read)) == 100)
                await commit(source, read)
                for number in range(30):
                    await sensor.say(float(number))
                read = await read_until(source, lambda read: len(values(read)) == 30)
                assert not any(ack.urgent for _, ack in read)

    asyncio.run(run())


def test_a_kept_sessions_backlog_comes_before_time_goes_on(port: int) -> None:
    count = 400

    async def run() -> None:
        client_id = next(clients)
        async with connected(source_of(port, client_id)):
            pass
        with publisher(port) as sensor:
            old_ms = time.time_ns() // 1_000_000 - 60_000
            for number in range(count):
                await sensor.send(
                    "line-1/press-01/force", json.dumps({"v": number, "ts": old_ms + number})
                )
        async with connected(source_of(port, client_id)) as source:
            began_s = time.monotonic()

            def commit_slowly(read: Read) -> bool:
                if time.monotonic() - began_s > SETTLE_S + 0.3:  # the broker's window was full
                    for _, ack in waiting:
                        ack.call()
                    waiting.clear()
                waiting.append(read[-1])
                return bool(alive(read))

            waiting: Read = []
            read = await read_until(source, commit_slowly)
            assert values(read) == [float(number) for number in range(count)]

    asyncio.run(run())


def test_a_sensor_with_a_wrong_clock_does_not_hold_time_without_a_backlog(port: int) -> None:
    async def run() -> None:
        with publisher(port) as sensor:
            async with connected(source_of(port)) as source:
                await sensor.send("line-1/press-01/force", '{"v": 1, "ts": 1000000000000}')
                await read_until(source, lambda read: len(alive(read)) > 1)

    asyncio.run(run())


def test_what_cannot_be_read_is_counted_acknowledged_and_said_once(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [b"{", b"", b"\xff\xfe", b"[" * 100_000, b'{"v": NaN}', b"7" * 5_000]

    async def run() -> None:
        client_id = next(clients)
        with publisher(port) as sensor:
            async with connected(source_of(port, client_id)) as source:
                for payload in broken:
                    await sensor.send("line-1/press-01/force", payload)
                await sensor.say(1.0, "line-1/press-01/speed")
                read = await read_until(source, lambda read: 1.0 in values(read))
                assert source.rejected() == {"unreadable": len(broken)}
                await commit(source, read)
            async with connected(source_of(port, client_id)) as source:
                await read_until(source, lambda read: len(alive(read)) > 1)
                assert source.rejected() == {}

    with caplog.at_level(logging.WARNING, "andon"):
        asyncio.run(run())
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("floor: line-1/press-01/force: '{' is set aside (unreadable): ")


def test_signals_max_is_counted_and_stops_nothing(port: int) -> None:
    async def run() -> None:
        source = source_of(port, resolve=Numbers(signals_max=1))
        with publisher(port) as sensor:
            async with connected(source):
                await sensor.say(1.0)
                await sensor.say(5.0, "line-1/press-01/too_many")
                await sensor.say(6.0, "line-1/press-01/too_many")
                await sensor.say(2.0)
                read = await read_until(source, lambda read: 2.0 in values(read))
                assert values(read) == [1.0, 2.0]
                assert source.rejected() == {"no_signal": 2}

    asyncio.run(run())


def test_a_frozen_broker_does_not_hold_up_closing() -> None:
    async def run() -> None:
        broker = start_broker("mosquitto")
        try:
            async with connected(source_of(broker.port)):
                broker.process.send_signal(signal.SIGSTOP)
                began_s = time.monotonic()
            assert time.monotonic() - began_s < 4
        finally:
            broker.process.send_signal(signal.SIGCONT)
            broker.stop()

    asyncio.run(run())


def test_a_reader_thread_that_dies_is_noticed(port: int) -> None:
    def die(*_: Any) -> None:
        raise RuntimeError("a mistake in the library")

    async def run() -> None:
        with publisher(port) as sensor:
            source = source_of(port)
            async with connected(source):
                assert source._connection is not None
                source._connection._client.loop_misc = die  # type: ignore[assignment,method-assign]
                await sensor.say(1.0)
                with pytest.raises(Exception, match=r"floor: .* is lost: a mistake"):
                    await read_until(source, lambda read: False)

    asyncio.run(run())


def test_it_reads_the_clock_it_was_given(port: int) -> None:
    async def run() -> None:
        source = source_of(port, now_ns=lambda: 7)
        async with connected(source):
            read = await read_until(source, lambda read: len(read) == 1)
            assert read[0][0].received_ns == 7

    asyncio.run(run())
