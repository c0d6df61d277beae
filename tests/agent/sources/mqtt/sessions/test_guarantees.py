"""What the broker was asked to guarantee it does, over a real mosquitto: QoS 2, sessions, sharing.

A connection is cut at a packet by a way to the broker that knows where packets end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SourceError
from agent.sources.mqtt import MqttSource
from agent.sources.mqtt.packets import FRAME_BYTES_MAX
from tests.agent.sources.mqtt.sessions.test_redelivery import acknowledge, packets, silence
from tests.agent.sources.mqtt.test_source import Publisher, clients, commit, publisher, source_of
from tests.agent.sources.mqtt.wire import frame
from tests.conformance.source import Read, connected, read_until, values
from tests.peers.mosquitto import running

TOPIC = "line-1/press-01/force"
TEXT = {"topic": "line-1/{machine}/{signal}", "payload": {"text": {}}, "kind": "text"}
PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK = 3, 4, 5, 6, 7, 9
"""MQTT 3.1.1, table 2.1."""
SAYS_S = 10.0


class Cutting:
    """The way to a broker. The first packet of type `at` is swallowed, and the connection ends.

    seen : types of the packets that were handed on, in order
    grants : the QoS that SUBACK says, whatever the broker gives
    """

    def __init__(self, far_port: int) -> None:
        self.port = 0
        self.at = 0
        self.seen: list[int] = []
        self.grants: int | None = None
        self._far_port = far_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        ways = [
            asyncio.create_task(self._pass(*way))
            for way in ((reader, far_writer), (far_reader, writer))
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way, end in zip(ways, (far_writer, writer), strict=True):
            way.cancel()
            end.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readexactly(2)
                while head[-1] & 0x80:
                    head += await reader.readexactly(1)
                size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(head[1:]))
                body = await reader.readexactly(size)
                if head[0] >> 4 == self.at:
                    self.at = 0
                    return
                if head[0] >> 4 == SUBACK and self.grants is not None:
                    body = body[:-1] + bytes((self.grants,))
                self.seen.append(head[0] >> 4)
                writer.write(head + body)


@asynccontextmanager
async def cutting(far_port: int) -> AsyncIterator[Cutting]:
    way = Cutting(far_port)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    yield way
    server.close()


async def send(sensor: Publisher, value: float, qos: int, topic: str = TOPIC) -> None:
    now_ms = time.time_ns() // 1_000_000
    said = sensor._client.publish(topic, f'{{"v": {value}, "ts": {now_ms}}}', qos)
    await asyncio.to_thread(said.wait_for_publish, 5)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SAYS_S):
        while not holds():  # noqa: ASYNC110 - of a socket's other end nobody tells
            await asyncio.sleep(0.01)


def _all_there(wanted: set[float], read: Read) -> bool:
    return wanted <= set(values(read))


async def read_and_commit(source: MqttSource, read: Read) -> None:
    """Read, acknowledging each batch, until the connection is lost."""
    async for batch, ack in source.batches():
        read.append((batch, ack))
        ack.call()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("at", [PUBLISH, PUBREC, PUBREL, PUBCOMP])
def test_qos_2_counts_once_wherever_the_connection_is_cut(
    port: int, at: int, restarts: bool, version: str
) -> None:
    options: dict[str, Any] = {"qos": 2, "version": version}

    async def run() -> None:
        client_id = next(clients)
        async with cutting(port) as way:
            source = source_of(way.port, client_id, **options)
            with publisher(port) as sensor:
                read: Read = []
                async with connected(source):
                    way.at = at
                    await send(sensor, 1.0, 2)
                    with pytest.raises(SourceError):
                        await asyncio.wait_for(read_and_commit(source, read), SAYS_S)
                if restarts:
                    source = source_of(way.port, client_id, **options)
                    source.remember(packets(read))
                async with connected(source):
                    await send(sensor, 2.0, 2)
                    way.seen.clear()
                    going = asyncio.create_task(read_and_commit(source, read))
                    await until(lambda: 2.0 in values(read) and PUBCOMP in way.seen)
                    going.cancel()
                    await asyncio.gather(going, return_exceptions=True)
                    await commit(source, [])
                assert values(read) == [1.0, 2.0]
                async with connected(source_of(port, client_id, **options)) as later:
                    assert values(await silence(later)) == []
                    assert later.redelivered == 0

    asyncio.run(run())


@pytest.mark.parametrize(("qos", "answer"), [(1, PUBACK), (2, PUBREC)])
def test_nothing_is_said_to_the_broker_before_the_commit(port: int, qos: int, answer: int) -> None:
    async def run() -> None:
        async with cutting(port) as way, connected(source_of(way.port, qos=qos)) as source:
            with publisher(port) as sensor:
                await send(sensor, 1.0, qos)
                read = await read_until(source, lambda read: 1.0 in values(read))
                assert source._connection is not None
                await source._connection.unsubscribe(["nothing"])  # it has all of before
                assert answer not in way.seen
                acknowledge(read)
                await until(lambda: answer in way.seen)

    asyncio.run(run())


def test_gateways_that_share_get_each_message_once_together(port: int) -> None:
    count = 200

    async def run() -> None:
        async with AsyncExitStack() as stack:
            options: dict[str, Any] = {"share": "gateways", "clean_start": True}
            one, two = [
                await stack.enter_async_context(connected(source_of(port, **options)))
                for _ in range(2)
            ]
            reads: list[Read] = [[], []]
            going = [
                asyncio.create_task(read_and_commit(source, read))
                for source, read in zip((one, two), reads, strict=True)
            ]
            with publisher(port) as sensor:
                for number in range(count):
                    await send(sensor, float(number), 1)
            await until(lambda: sum(len(values(read)) for read in reads) >= count)
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)
            assert sorted(values(reads[0]) + values(reads[1])) == [float(n) for n in range(count)]
            assert all(values(read) for read in reads)

    asyncio.run(run())


def test_a_session_lasts_as_long_as_it_was_asked_to(port: int) -> None:
    async def run() -> None:
        for expiry_s, kept in ((1, False), (60, True), (None, True)):
            client_id = next(clients)
            options: dict[str, Any] = {"session_expiry_s": expiry_s}
            async with connected(source_of(port, client_id, version="5", **options)):
                pass
            await asyncio.sleep(2.5 if expiry_s == 1 else 0)  # the broker's clock, to the second
            async with connected(source_of(port, client_id, version="5", **options)) as source:
                assert source._connection is not None
                assert source._connection.kept is kept

    asyncio.run(run())


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_backlog_that_fills_the_intake_does_not_hold_up_the_connection(
    tmp_path: Path, version: str
) -> None:
    """The broker's answer to SUBSCRIBE lies behind it, and is read once there is room."""
    count, size = 20, 1_000_000

    async def run(port: int) -> None:
        client_id = next(clients)
        options: dict[str, Any] = {"topics": (TEXT,), "version": version}
        async with connected(source_of(port, client_id, **options)):
            pass
        with publisher(port) as sensor:
            for _ in range(count):
                await sensor.send(TOPIC, bytes(size))
            async with connected(source_of(port, client_id, **options)) as source:
                read = await read_until(
                    source, lambda _: source.rejected() == {"unreadable": count}
                )
                await commit(source, read)
                await sensor.send(TOPIC, "good")
                await read_until(source, lambda read: any(batch.texts for batch, _ in read))

    with running(tmp_path / "broker") as broker:
        asyncio.run(run(broker.port))


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_is_too_long_is_counted_and_never_comes_again(
    port: int, qos: int, retain: bool
) -> None:
    async def run() -> None:
        client_id = next(clients)
        topic = f"line-1/press-01/image{qos}{retain}"
        source = source_of(port, client_id, qos=qos)
        with publisher(port) as sensor:
            async with connected(source):
                said = sensor._client.publish(topic, bytes(FRAME_BYTES_MAX), qos, retain)
                await asyncio.to_thread(said.wait_for_publish, 10)
                await send(sensor, 2.0, qos)
                read = await read_until(source, lambda read: values(read) == [2.0])
                assert source.rejected() == {"too_long": 1}
                (kept,) = source.quarantine.newest()
                assert kept.topic == topic
                assert "16,777,2" in kept.reason
                await commit(source, read)
            sensor._client.publish(topic, b"", 0, retain=True).wait_for_publish(5)
            async with connected(source):
                await silence(source)
                assert source.rejected().get("too_long") == 1

    asyncio.run(run())


def test_a_broker_that_gives_less_than_was_asked_for_is_told_of(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with cutting(port) as way:
            way.grants = 0
            async with connected(source_of(way.port)):
                pass

    asyncio.run(run())
    assert "gives only QoS 0 of line-1/+/+" in caplog.text


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_what_is_retained_is_told_at_each_connection_with_its_own_time(
    port: int, version: str
) -> None:
    """So a state that changed while nobody listened is known; windows take one time once."""
    topic = f"line-1/press-01/kept{version}"

    async def run() -> None:
        source = source_of(port, version=version)
        read: Read = []
        with publisher(port) as sensor:
            kept = '{"v": 1, "ts": 1763859600000}'
            sensor._client.publish(topic, kept, 1, True).wait_for_publish(5)
            for last in (2.0, 3.0):
                async with connected(source):
                    await sensor.say(last)
                    going = asyncio.create_task(read_and_commit(source, read))
                    await until(partial(_all_there, {1.0, last}, read))
                    going.cancel()
                    await asyncio.gather(going, return_exceptions=True)
                    await commit(source, [])
            sensor._client.publish(topic, b"", 0, True).wait_for_publish(5)
        assert sorted(values(read)) == [1.0, 1.0, 2.0, 3.0]
        times = {int(t) for batch, _ in read for t in batch.time_ns[batch.value == 1.0]}
        assert times == {1_763_859_600_000_000_000}

    asyncio.run(run())


def test_payloads_that_are_slow_to_read_leave_time_for_others(port: int) -> None:
    """What kernels cannot read comes 16 MB at a time; others are not kept waiting for all of it."""
    messages = 20_000
    payload = b'{"v": 1, "v": 2, "ts": 1763859600123}'

    async def run() -> None:
        gaps_s: list[float] = []

        async def tick() -> None:
            while True:
                began_s = time.monotonic()
                await asyncio.sleep(0.01)
                gaps_s.append(time.monotonic() - began_s)

        async with connected(source_of(port, version="3.1.1")) as source:
            assert source._connection is not None
            source._connection._intake.put(frame(TOPIC.encode(), payload) * messages)
            source._connection.news.set()
            ticking = asyncio.create_task(tick())
            read = await read_until(source, lambda read: len(values(read)) == messages)
            ticking.cancel()
            assert max(len(batch) for batch, _ in read) < messages / 4
            assert max(gaps_s) < 0.5

    asyncio.run(run())
