"""MQTT 5 where the broker knows it, else 3.1.1: brokers that say no in each of the usual ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from agent.errors import SourceError
from tests.agent.sources.mqtt.test_source import clients, commit, publisher, source_of
from tests.conformance.source import connected, read_until, values

UNKNOWN_VERSION = {"3.1.1": bytes((0x20, 2, 0, 1)), "5": bytes((0x20, 3, 0, 0x84, 0))}
"""CONNACK as servers of that version send it (MQTT 3.1.1, 3.2.2.3; 5.0, 3.2.2.2)."""
HANGS_UP = b""
_LEVEL_AT = 8
"""Of a short CONNECT, where its protocol level stands (MQTT 3.1.1, 3.1.2.2)."""


class Choosy:
    """The way to a broker; one that knows not all versions.

    refused : what is answered to a CONNECT of a protocol level; None: nothing ever
    levels : of the CONNECTs that came, in order
    """

    def __init__(self, far_port: int) -> None:
        self.refused: dict[int, bytes | None] = {}
        self.levels: list[int] = []
        self.port = 0
        self._far_port = far_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(4096)
        self.levels.append(first[_LEVEL_AT])
        far_writer = None
        with suppress(OSError):
            if first[_LEVEL_AT] in self.refused:
                answer = self.refused[first[_LEVEL_AT]]
                if answer is None:
                    await reader.read()
                writer.write(answer or b"")
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
                far_writer.write(first)
                await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        for one in (writer, far_writer):
            if one is not None:
                one.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
    with suppress(OSError):
        writer.write_eof()


@asynccontextmanager
async def choosy(far_port: int) -> AsyncIterator[Choosy]:
    broker = Choosy(far_port)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    yield broker
    server.close()


@pytest.mark.parametrize("answer", [UNKNOWN_VERSION["3.1.1"], UNKNOWN_VERSION["5"], HANGS_UP])
def test_a_broker_that_does_not_know_5_is_read_by_3_1_1_and_keeps_the_session(
    port: int, answer: bytes
) -> None:
    async def run() -> None:
        async with choosy(port) as broker:
            broker.refused[5] = answer
            source = source_of(broker.port, next(clients))
            with publisher(port) as sensor:
                async with connected(source):
                    await sensor.say(1.0)
                    await commit(source, await read_until(source, lambda read: 1.0 in values(read)))
                await sensor.say(2.0)
                async with connected(source):
                    await commit(source, await read_until(source, lambda read: 2.0 in values(read)))
            assert broker.levels == [5, 4, 4]

    asyncio.run(run())


@pytest.mark.parametrize("answer", [*UNKNOWN_VERSION.values(), HANGS_UP])
def test_a_broker_that_knows_3_1_1_no_more_is_read_by_5(port: int, answer: bytes) -> None:
    async def run() -> None:
        async with choosy(port) as broker:
            broker.refused[5] = HANGS_UP
            source = source_of(broker.port)
            async with connected(source):
                pass
            broker.refused = {4: answer}
            async with connected(source):
                pass
            assert broker.levels == [5, 4, 4, 5]

    asyncio.run(run())


def test_a_broker_that_hangs_up_for_a_while_is_read_by_5_afterwards(port: int) -> None:
    async def run() -> None:
        async with choosy(port) as broker:
            broker.refused = {5: HANGS_UP, 4: HANGS_UP}
            source = source_of(broker.port)
            for _ in range(3):
                with pytest.raises(SourceError):
                    await source.connect()
                await source.close()
            broker.refused = {}
            async with connected(source):
                pass
            assert broker.levels == [5, 4, 5, 4, 5, 4, 5]

    asyncio.run(run())


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_version_that_was_asked_for_and_is_refused_is_said(port: int, version: str) -> None:
    async def run() -> None:
        async with choosy(port) as broker:
            broker.refused = {4: UNKNOWN_VERSION[version], 5: UNKNOWN_VERSION[version]}
            source = source_of(broker.port, version=version)
            with pytest.raises(SourceError, match="refuses: Unsupported protocol version"):
                await source.connect()
            await source.close()
            assert len(broker.levels) == 1

    asyncio.run(run())


def test_a_broker_that_is_silent_to_5_is_asked_by_3_1_1_the_next_time_unless_it_knew_5(
    port: int,
) -> None:
    async def run() -> None:
        async with choosy(port) as broker:
            broker.refused = {5: None}
            source = source_of(broker.port, connect_timeout_s=0.3)
            with pytest.raises(SourceError, match="timed out"):
                await source.connect()
            await source.close()
            async with connected(source):
                pass
            broker.refused = {4: None}
            for _ in range(2):
                with pytest.raises(SourceError, match="timed out"):
                    await source.connect()
                await source.close()
            assert broker.levels == [5, 4, 4, 4]

    asyncio.run(run())
