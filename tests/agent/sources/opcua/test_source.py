"""The OPC UA source, over real servers: values, times, statuses and what goes wrong with them."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.server.subscription_service import SubscriptionService
from pydantic import SecretStr

from agent.batch import BAD_WAITING_FOR_INITIAL_DATA
from agent.sources import Source
from agent.sources.opcua import OpcuaSource
from hardware.line.faults import Bad
from hardware.line.opcua import NAMESPACE, Variable
from tests.agent.sources.opcua.machine import Machine, column, config_of, signal_of, source_of
from tests.conformance.source import (
    ApplyConformance,
    Change,
    Read,
    SourceConformance,
    alive,
    connected,
    read_until,
    values,
)
from tests.peers.proxy import Proxy, proxied

TYPE = ua.VariantType
BAD_SENSOR = 0x808C_0000
UNCERTAIN = 0x408F_0000
NODE_UNKNOWN = 0x8034_0000


NUMBERS: list[tuple[ua.VariantType, Any, float]] = [
    (TYPE.Boolean, True, 1.0),
    (TYPE.SByte, -7, -7.0),
    (TYPE.Byte, 200, 200.0),
    (TYPE.Int16, -300, -300.0),
    (TYPE.UInt16, 60_000, 60_000.0),
    (TYPE.Int32, -70_000, -70_000.0),
    (TYPE.UInt32, 4_000_000_000, 4e9),
    (TYPE.Int64, -(2**53), -(2.0**53)),
    (TYPE.UInt64, 2**64 - 1, float(2**64 - 1)),
    (TYPE.Float, 0.5, 0.5),
    (TYPE.Double, 0.1, 0.1),
    (TYPE.String, "12", math.nan),
    (TYPE.Double, [1.0, 2.0], math.nan),
    (TYPE.ByteString, b"ab", math.nan),
    (TYPE.LocalizedText, ua.LocalizedText("x"), math.nan),
]
TEXTS: list[tuple[ua.VariantType, Any, str | None]] = [
    (TYPE.String, "unit 7 \u5355\u5143", "unit 7 \u5355\u5143"),
    (TYPE.LocalizedText, ua.LocalizedText("l\u00e4uft", "de"), "l\u00e4uft"),
    (TYPE.LocalizedText, ua.LocalizedText(None), None),
    (TYPE.Int32, 7, "7"),
    (TYPE.Boolean, True, "true"),
    (TYPE.String, ["a", "b"], None),
    (TYPE.ByteString, b"ab", None),
    (TYPE.String, "x" * 10_001, None),
]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    names = ["ram_force", "other", "status", "unchanged", "flood"]
    variables = [Variable("press-01", name) for name in names]
    variables += [Variable("press-01", f"number_{i}", k) for i, (k, *_) in enumerate(NUMBERS)]
    variables += [Variable("press-01", f"text_{i}", k) for i, (k, *_) in enumerate(TEXTS)]
    machine = Machine(variables)
    yield machine
    machine.stop()


class Far:
    """The machine behind a connection that can be cut."""

    def __init__(self, machine: Machine, proxy: Proxy) -> None:
        self._machine = machine
        self._proxy = proxy
        self._url = re.sub(r":\d+/", f":{proxy.port}/", machine.url)

    def source(self) -> OpcuaSource:
        return source_of(self._url)

    async def say(self, value: float) -> None:
        await self._machine.write("ram_force", value)

    async def say_other(self, value: float) -> None:
        await self._machine.write("other", value)

    async def apply(self, source: Source, change: Change) -> bool:
        assert isinstance(source, OpcuaSource)
        signals = [signal_of("ram_force"), signal_of("other")]
        if change == "without_other":
            del signals[1]
        options = {"user": "other"} if change == "of_connection" else {}
        return await source.apply(
            config_of(self._url, signals, **options), list(enumerate(signals))
        )

    async def go_away(self) -> None:
        await self._proxy.close()


class TestOpcuaSource(SourceConformance, ApplyConformance):
    @pytest.fixture(autouse=True)
    def _machine(self, machine: Machine) -> None:
        self.machine = machine

    def source_at(self, port: int) -> Source:
        return source_of(f"opc.tcp://127.0.0.1:{port}")

    @asynccontextmanager
    async def far_side(self) -> AsyncIterator[Far]:
        async with proxied(int(re.findall(r":(\d+)/", self.machine.url)[0])) as proxy:
            yield Far(self.machine, proxy)

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[Source]:
        yield source_of(self.machine.url, user="nobody", password=SecretStr("wrong"))


def texts(read: Read, signal: int) -> list[str | None]:
    return [
        None if math.isnan(index) else batch.texts[int(index)]
        for batch, _ in read
        for number, index in zip(batch.signal, batch.value, strict=True)
        if number == signal
    ]


async def first_values(machine: Machine, kind: str, prefix: str, said: Sequence[Any]) -> Read:
    """What comes of one write to each of these."""
    signals = [signal_of(f"{prefix}_{i}", kind) for i in range(len(said))]
    for signal, (_, value, _) in zip(signals, said, strict=True):
        await machine.write(signal.name, value)
    async with connected(source_of(machine.url, signals)) as source:
        return await read_until(source, lambda read: len(values(read)) == len(said))


def test_every_scalar_type_becomes_a_number_and_what_is_none_becomes_nan(machine: Machine) -> None:
    read = asyncio.run(first_values(machine, "analog", "number", NUMBERS))
    found = [column(read, i, "value")[0] for i in range(len(NUMBERS))]
    np.testing.assert_array_equal(found, [number for *_, number in NUMBERS])


def test_a_text_signal_takes_strings_localized_texts_and_numbers_but_no_arrays(
    machine: Machine,
) -> None:
    read = asyncio.run(first_values(machine, "text", "text", TEXTS))
    assert [texts(read, i)[0] for i in range(len(TEXTS))] == [text for *_, text in TEXTS]


def test_statuses_and_source_times_arrive_as_they_were_sent(machine: Machine) -> None:
    async def run() -> Read:
        async with connected(source_of(machine.url, [signal_of("status")])) as source:
            read = await read_until(source, lambda read: len(values(read)) == 1)
            assert column(read, 0, "status") == [BAD_WAITING_FOR_INITIAL_DATA]
            await machine.write("status", 1.0, moments[0])
            await machine.write("status", Bad(BAD_SENSOR), moments[1])
            await machine.write_status("status", 2.0, UNCERTAIN, moments[2])
            return await read_until(source, lambda read: len(values(read)) == 3)

    start_ns = time.time_ns() // 1000 * 1000
    moments = [start_ns + offset for offset in (1_000, 123_456_000, 123_457_000)]
    read = asyncio.run(run())
    # OPC UA carries 100 ns; asyncua's server microseconds of them
    assert column(read, 0, "time_ns") == moments
    assert column(read, 0, "status") == [0, BAD_SENSOR, UNCERTAIN]
    np.testing.assert_array_equal(column(read, 0, "value"), [1.0, math.nan, 2.0])


def test_unchanged_means_no_sample_but_vouched_time_and_the_first_one_holds_from_now_on(
    machine: Machine,
) -> None:
    async def run() -> None:
        await machine.write("unchanged", 5.0, time.time_ns() - 3_600 * 10**9)
        subscribed_ns = time.time_ns()
        async with connected(source_of(machine.url, [signal_of("unchanged")])) as source:
            read = await read_until(source, lambda read: len(alive(read)) >= 4)
            assert values(read) == [5.0]
            (first_ns,) = column(read, 0, "time_ns")
            assert subscribed_ns - 250_000_000 < first_ns < read[-1][0].received_ns
            moment_ns = time.time_ns() // 1000 * 1000
            await machine.write("unchanged", 6.0, moment_ns)
            read = await read_until(source, lambda read: 6.0 in values(read))
            assert column(read, 0, "time_ns") == [moment_ns]

    asyncio.run(run())


def test_a_missing_node_or_namespace_is_said_once_and_stops_no_other(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    signals = [
        signal_of("gone"),
        signal_of("ram_force"),
        signal_of("foreign", node="nsu=urn:nobody;s=x"),
        signal_of("by_index", node="ns=2;s=press-01.ram_force"),
    ]

    async def run() -> None:
        await machine.write("ram_force", 3.0)
        source = source_of(machine.url, signals)
        for _ in range(2):
            async with connected(source):
                read = await read_until(source, lambda read: len(values(read)) == 4)
                assert column(read, 1, "value") == column(read, 3, "value") == [3.0]
                assert column(read, 0, "status") == column(read, 2, "status") == [NODE_UNKNOWN]

    with caplog.at_level(logging.WARNING, "andon"):
        asyncio.run(run())
    said_of = [record.getMessage() for record in caplog.records]
    (said,) = [one for one in said_of if "not delivered" in one]
    assert "2 of 4 signals are not delivered" in said
    assert f"press-01/gone (nsu={NAMESPACE};s=press-01.gone): BadNodeIdUnknown" in said
    assert "press-01/foreign (nsu=urn:nobody;s=x): the server has no namespace" in said


def test_a_burst_comes_whole_and_in_order(machine: Machine) -> None:
    count = 1_000

    async def run() -> None:
        source = source_of(machine.url, [signal_of("flood")], queue_size=10_000)
        async with connected(source):
            await read_until(source, lambda read: len(values(read)) == 1)
            start_ns = time.time_ns()
            for number in range(count):
                await machine.write("flood", float(number), start_ns + 1000 * number)
            read = await read_until(source, lambda read: len(values(read)) == count)
            assert values(read) == [float(number) for number in range(count)]

    asyncio.run(run())


def test_a_server_that_grants_rarer_keep_alives_is_not_taken_for_silent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.publishing.SILENT_S", 0.3)
    clamp = staticmethod(lambda asked: 10)
    monkeypatch.setattr(SubscriptionService, "_clamp_keep_alive_count", clamp)

    async def run() -> None:
        async with connected(source_of(machine.url)) as source:
            began_s = time.monotonic()
            await read_until(source, lambda read: len(alive(read)) >= 3)
            assert time.monotonic() - began_s > 0.6, "the server was to be slow"

    asyncio.run(run())


def test_it_reads_the_clock_it_was_given(machine: Machine) -> None:
    async def run() -> None:
        signals = [signal_of("ram_force")]
        source = OpcuaSource(
            config_of(machine.url, signals), list(enumerate(signals)), None, lambda: 7
        )
        async with connected(source):
            read = await read_until(source, lambda read: len(read) == 1)
            assert read[0][0].received_ns == 7

    asyncio.run(run())
