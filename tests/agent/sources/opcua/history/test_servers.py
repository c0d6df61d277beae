"""Histories of servers that nobody here wrote."""

from __future__ import annotations

import time

from asyncua import Client, ua

from agent.sources.opcua.history import Filler, Span
from tests.agent.sources.opcua.history.reading import Read, decoder_of, filled, run
from tests.peers.peer import NAMESPACE, Peer

MS = 1_000_000
SECOND = 1000 * MS
BAD_SENSOR = 0x808C_0000
UNSUPPORTED = "BadHistoryOperationUnsupported"


async def on_peer(peer: Peer, name: str, after_ns: int, until_ns: int) -> tuple[Filler, Read]:
    async with Client(peer.url) as client:
        space = await client.get_namespace_index(NAMESPACE)
        filler = Filler(client, decoder_of(1))
        span = Span(0, ua.NodeId.from_string(f"ns={space};s={name}"), after_ns, until_ns)
        return filler, await filled(client, [span], filler)


def test_a_long_history_of_a_real_server_comes_whole_in_order_and_once(peer: Peer) -> None:
    async def test() -> None:
        after_ns = time.time_ns() - MS
        await peer.ask("burst", node="v0", start=1000, count=25_000)
        filler, read = await on_peer(peer, "v0", after_ns, time.time_ns() + SECOND)
        assert [value for _, value, _ in read[0]] == [1000.0 + i for i in range(25_000)]
        times = [at for at, _, _ in read[0]]
        assert times == sorted(times)
        assert (filler.filled, filler.failed) == ({0}, {})

    run(test())


def test_a_real_servers_statuses_and_times_are_told_and_the_span_is_open_at_its_start(
    peer: Peer,
) -> None:
    async def test() -> None:
        begin_ms = time.time_ns() // MS + 100_000
        for i, status in enumerate((0, BAD_SENSOR, 0, 0)):
            await peer.ask("set", node="v0", value=i, status=status, time_ms=begin_ms + i)
        begin_ns = begin_ms * MS
        _, read = await on_peer(peer, "v0", begin_ns, begin_ns + 2 * MS)
        (first, second) = read[0]
        assert (first[0], first[2]) == (begin_ns + MS, BAD_SENSOR)
        assert second == (begin_ns + 2 * MS, 2.0, 0)

    run(test())


def test_a_real_server_without_a_history_of_the_node_is_believed_to_know_nothing(
    peer: Peer,
) -> None:
    async def test() -> None:
        filler, read = await on_peer(peer, "v5", time.time_ns() - SECOND, time.time_ns())
        assert (read, filler.filled, filler.failed) == ({}, set(), {0: UNSUPPORTED})
        assert len(filler.without) == 1
        assert filler.broken == set()

    run(test())
