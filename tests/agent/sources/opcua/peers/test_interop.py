"""The OPC UA source over servers that nobody here wrote: what they say arrives, right and once."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.source import Read, connected, read_until
from tests.peers.gateway import OpcuaGateway
from tests.peers.peer import Peer, running

BAD_SENSOR = 0x808C_0000
UNCERTAIN = 0x408F_0000
ITEMS = 20_000


def test_values_statuses_and_times_arrive_as_they_were_said(peer: Peer) -> None:
    start_ms = time.time_ns() // 1_000_000
    said: list[dict[str, Any]] = [
        {"value": 1.5, "status": 0, "time_ms": start_ms + 1},
        {"value": -2.5, "status": UNCERTAIN, "time_ms": start_ms + 2},
        {"value": 4.5, "status": 0, "time_ms": start_ms + 3},
    ]

    async def run() -> None:
        async with OpcuaGateway(peer.url, ["v1", "v2"]).running() as gateway:
            await gateway.until(lambda: len(gateway.samples("v1")) == 1, "the first value")
            for one in said:
                await peer.ask("set", node="v1", **one)
                await gateway.until(partial(is_at, gateway, "v1", one["value"]), str(one))
            found = [(s.value, s.status, s.time_ns // 10**6) for s in gateway.samples("v1")[1:]]
            assert found == [(o["value"], o["status"], o["time_ms"]) for o in said]
            assert len(gateway.samples("v2")) == 1

    asyncio.run(run())


def test_a_bad_status_arrives_as_it_is_and_never_as_a_good_value(peer: Peer) -> None:
    async def run() -> None:
        async with OpcuaGateway(peer.url, ["v3"]).running() as gateway:
            await gateway.until(lambda: len(gateway.samples("v3")) == 1, "the first value")
            await peer.ask("set", node="v3", value=7.5, status=BAD_SENSOR)
            await gateway.until(lambda: len(gateway.samples("v3")) == 2, "the bad one")
            assert [sample.status for sample in gateway.samples("v3")] == [0, BAD_SENSOR]

    asyncio.run(run())


def test_a_count_comes_whole_and_in_order(peer: Peer) -> None:

    async def run() -> None:
        async with OpcuaGateway(peer.url, ["v4"]).running() as gateway:
            await gateway.until(lambda: len(gateway.samples("v4")) == 1, "the first value")
            await peer.ask("count", node="v4", start=1000, every_ms=50)
            await gateway.until(lambda: gateway.last("v4") >= 1040, "forty steps")
            last = (await peer.ask("uncount", node="v4"))["next"] - 1
            await gateway.until(lambda: gateway.last("v4") == last, "the last step")
            assert gateway.values("v4")[1:] == [float(n) for n in range(1000, last + 1)]

    asyncio.run(run())


def test_a_node_that_is_not_there_stops_no_other(peer: Peer) -> None:

    async def run() -> None:
        async with OpcuaGateway(peer.url, ["nowhere", "v5", "v6"]).running() as gateway:
            await gateway.until(lambda: bool(gateway.values("v5")), "a neighbour")
            await gateway.until(lambda: bool(gateway.values("v6")), "the other neighbour")
            assert all(sample.status & 0x8000_0000 for sample in gateway.samples("nowhere"))

    asyncio.run(run())


def test_twenty_thousand_items_on_one_server_all_arrive_right_and_once(tmp_path: Path) -> None:
    names = [f"v{n}" for n in range(ITEMS)]
    slowly: dict[str, Any] = {
        "publishing_interval_ms": 500,
        "sampling_interval_ms": 1000,
        "queue_size": 10,
    }

    async def run(peer: Peer) -> None:
        gateway = OpcuaGateway(peer.url, names, connect_timeout_s=60, **slowly)
        async with connected(gateway.source.source) as source:
            first = await read_until(source, partial(has_rows, ITEMS))
            await peer.ask("sweep", value=1e6)
            then = await read_until(source, partial(has_rows, ITEMS))
        for read, values in ((first, np.arange(ITEMS)), (then, 1e6 + np.arange(ITEMS))):
            signal = np.concatenate([batch.signal for batch, _ in read])
            value = np.concatenate([batch.value for batch, _ in read])
            np.testing.assert_array_equal(np.sort(signal), np.arange(ITEMS))
            np.testing.assert_array_equal(value[np.argsort(signal)], values)
        assert sum(source.missed().values()) == 0

    with running("node-opcua", tmp_path, variables=ITEMS) as peer:
        asyncio.run(run(peer))


def is_at(gateway: OpcuaGateway, name: str, value: float) -> bool:
    return gateway.last(name) == value


def has_rows(count: int, read: Read) -> bool:
    return sum(len(batch) for batch, _ in read) >= count
