"""The OPC UA source over servers that fail: restarts, lost nodes, sessions, clocks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.peers.gateway import OpcuaGateway
from tests.peers.peer import Kind, Peer, running

BACK_S = 10.0
"""So soon after a fault has ended, everything is read again."""
HOUR_MS = 3_600_000
KINDS: list[Kind] = ["node-opcua", "asyncua"]
BAD_NODE_ID_UNKNOWN = 0x8034_0000
BAD = 0x8000_0000


@asynccontextmanager
async def counting(peer: Peer, *names: str) -> AsyncIterator[OpcuaGateway]:
    """A gateway that reads these, of which the first counts."""
    counted = names[0]
    async with OpcuaGateway(peer.url, names).running() as gateway:
        await gateway.until(lambda: all(map(gateway.samples, names)), "first values")
        await peer.ask("count", node=counted, start=1000, every_ms=50)
        await gateway.until(lambda: gateway.last(counted) >= 1010, "ten steps")
        yield gateway
        await peer.ask("uncount", node=counted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_restarts_without_a_node_is_read_on_and_the_node_once_it_is_back(
    kind: Kind,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.sources.opcua.HEAL_FIRST_S", 1.0)

    async def run(peer: Peer) -> None:
        async with counting(peer, "v0", "v1", "v2") as gateway:
            peer.kill()
            await gateway.until(lambda: "waiting" in gateway.state, "the loss", BACK_S)
            await asyncio.to_thread(peer.start, without=["v1"])
            await peer.ask("count", node="v0", start=2000, every_ms=50)
            await gateway.fresh("v0", BACK_S)
            await gateway.until(lambda: gateway.last("v2") == 2.0, "the other one")
            await gateway.until(
                lambda: gateway.samples("v1")[-1].status == BAD_NODE_ID_UNKNOWN, "the lost one"
            )
            assert "press-01/v1" in caplog.text
            await peer.ask("add", node="v1")
            await gateway.until(lambda: gateway.samples("v1")[-1].status == 0, "it is back", 20)
            assert gateway.last("v1") == 1.0

    with caplog.at_level(logging.WARNING, "andon"), running(kind, tmp_path, variables=3) as peer:
        asyncio.run(run(peer))


def test_a_node_that_is_deleted_while_it_is_read_turns_bad_and_comes_back(
    peer_of: Callable[[Kind], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.sources.opcua.HEAL_FIRST_S", 1.0)

    async def run() -> None:
        peer = peer_of("node-opcua")  # asyncua's server says nothing of it
        async with counting(peer, "v1", "v2") as gateway:
            await peer.ask("remove", node="v2")
            await gateway.until(lambda: bool(gateway.samples("v2")[-1].status & BAD), "it is gone")
            await gateway.fresh("v1", 2)
            await peer.ask("add", node="v2")
            await gateway.until(lambda: gateway.samples("v2")[-1].status == 0, "it is back", 20)
            assert len(gateway.source.connects_s) == 1, "the others were disturbed"

    asyncio.run(run())


def test_a_subscription_that_falls_silent_is_exchanged(peer: Peer) -> None:
    async def run() -> None:
        async with counting(peer, "v3") as gateway:
            await peer.ask("mute")
            await gateway.until(lambda: len(gateway.source.connects_s) == 2, "noticed", BACK_S)
            await gateway.fresh("v3", BACK_S)

    asyncio.run(run())


@pytest.mark.parametrize("subscriptions", [True, False])
def test_a_session_that_the_server_ends_is_opened_anew(peer: Peer, subscriptions: bool) -> None:
    """subscriptions : whether they end too, or may be taken over"""

    async def run() -> None:
        async with counting(peer, "v4") as gateway:
            await peer.ask("expire", subscriptions=subscriptions)
            await gateway.until(lambda: len(gateway.source.connects_s) == 2, "noticed", BACK_S)
            await gateway.fresh("v4", BACK_S)

    asyncio.run(run())


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
def test_a_clock_that_jumps_stops_nothing_and_what_it_cost_is_counted(
    peer: Peer, jump_ms: int
) -> None:
    async def run() -> None:
        try:
            async with counting(peer, "v5") as gateway:
                await peer.ask("clock", offset_ms=jump_ms)
                now = gateway.last("v5")
                await gateway.until(lambda: gateway.last("v5") > now + 10, "on it counts", BACK_S)
                now_ns, at_ms = time.time_ns(), gateway.samples("v5")[-1].time_ns // 10**6
                assert abs(at_ms - jump_ms - now_ns // 10**6) < 10_000, "its times are its own"
            steps = gateway.steps("v5")[1:]
            whole = steps == [1000.0 + n for n in range(len(steps))]
            assert whole or gateway.ledger.missed.total() > 0
        finally:
            await peer.ask("clock", offset_ms=0)

    asyncio.run(run())
