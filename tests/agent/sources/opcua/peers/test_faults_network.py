"""The OPC UA source over a network that fails: it is back within seconds, and says what it lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.peers.gateway import OpcuaGateway
from tests.peers.peer import Kind, Peer
from tests.peers.proxy import State, proxied

BACK_S = 10.0
"""So soon after a fault has ended, everything is read again."""
STEP_MS = 50
FIRST = 1000.0
SILENCE_S = 6.5
"""Longer than a silence may last."""


async def suffer(
    peer: Peer, state: State, last_s: float, counted: str = "v0", **options: Any
) -> OpcuaGateway:
    """Read a count while its way becomes this for a while; what was read to its last step."""
    async with proxied(peer.port) as proxy:
        proxy.drip_bytes = 50
        names = [counted, "v9"]
        gateway = OpcuaGateway(peer.url_at(proxy.port), names, **options)
        async with gateway.running():
            await gateway.until(lambda: len(gateway.samples(counted)) >= 1, "the first value")
            await peer.ask("count", node=counted, start=FIRST, every_ms=STEP_MS)
            await gateway.until(lambda: gateway.last(counted) >= FIRST + 10, "ten steps")
            proxy.become(state)
            await asyncio.sleep(last_s)
            proxy.become("whole")
            await gateway.fresh(counted, BACK_S)
            last = (await peer.ask("uncount", node=counted))["next"] - 1
            await gateway.until(lambda: gateway.last(counted) == last, "the last step")
    times = [sample.time_ns for sample in gateway.samples(counted)]
    assert times == sorted(set(times)), "a sample came twice, or before an older one"
    assert len(gateway.steps("v9")) == 1, "nothing happened to it"
    return gateway


def lost(gateway: OpcuaGateway, counted: str = "v0") -> list[float]:
    """The steps of the count that were not read; none came twice, or before an older one."""
    steps = gateway.steps(counted)[1:]
    assert steps == sorted(set(steps))
    return sorted(set(np.arange(FIRST, steps[-1])) - set(steps))


def test_a_cut_of_five_seconds_loses_nothing_since_the_server_goes_on_and_repeats(
    peer_of: Callable[[Kind], Peer],
) -> None:
    async def run() -> None:
        peer = peer_of("node-opcua")
        before = await peer.ask("state")
        gateway = await suffer(peer, "cut", 5.0, "v5")  # it has no history
        after = await peer.ask("state")
        assert after["transferred"] == before["transferred"] + 1
        assert lost(gateway, "v5") == []
        assert gateway.ledger.missed.total() == 0

    asyncio.run(run())


@pytest.mark.parametrize("state", ["cut", "reset", "hole"])
def test_what_was_missed_is_read_from_the_servers_history_once(peer: Peer, state: State) -> None:
    async def run() -> None:
        began_ns = time.time_ns()
        gateway = await suffer(peer, state, SILENCE_S if state == "hole" else 2.0)
        assert lost(gateway) == []
        assert all(sample.time_ns > began_ns for sample in gateway.samples("v0")[1:])
        assert gateway.ledger.missed.total() == 0

    asyncio.run(run())


def test_what_no_history_holds_is_missed_and_counted(peer_of: Callable[[Kind], Peer]) -> None:
    async def run() -> None:
        peer = peer_of("asyncua")  # subscriptions end with their connection
        gateway = await suffer(peer, "cut", 1.0, "v4")
        assert lost(gateway, "v4")
        assert gateway.ledger.missed["outage"] == 1
        assert gateway.ledger.missed.total() == 1

    asyncio.run(run())


@pytest.mark.parametrize("state", ["drip", "stall"])
def test_a_network_that_is_slow_or_stalls_loses_nothing(peer: Peer, state: State) -> None:
    async def run() -> None:
        gateway = await suffer(peer, state, 3.0)
        assert lost(gateway) == []
        assert gateway.ledger.missed.total() == 0

    asyncio.run(run())


def test_a_queue_that_ran_over_at_the_server_is_missed_and_counted(
    peer_of: Callable[[Kind], Peer],
) -> None:
    async def run() -> None:
        peer = peer_of("node-opcua")
        gateway = await suffer(peer, "cut", 3.0, "v6", queue_size=10)
        assert lost(gateway, "v6")
        assert gateway.ledger.missed["server_queue"] >= 1

    asyncio.run(run())
