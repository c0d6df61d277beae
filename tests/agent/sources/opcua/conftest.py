"""Servers that nobody here wrote, for the tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.peers.peer import Kind, Peer

HISTORIZED = 1
"""Of each server's variables v0 to v9, so many have a history."""
USERS = {"operator": "secret"}


@pytest.fixture(scope="module")
def peer_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Kind], Peer]]:
    """Each kind of server; one is started when it is first asked for."""
    peers: dict[Kind, Peer] = {}

    def started(kind: Kind) -> Peer:
        if kind not in peers:
            peers[kind] = Peer(kind, tmp_path_factory.mktemp(kind))
            peers[kind].start(variables=10, historized=HISTORIZED, users=USERS)
        return peers[kind]

    yield started
    for peer in peers.values():
        peer.kill()


@pytest.fixture(params=["node-opcua", "asyncua"])
def peer(request: pytest.FixtureRequest, peer_of: Callable[[Kind], Peer]) -> Peer:
    """Each of them, one after the other."""
    return peer_of(request.param)
