"""Servers that nobody here wrote: continuation points over the wire, and the map of any server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import hardware
from agent.sources.opcua.browse import OBJECTS, AddressSpace, Bounds, browse, load_map, propose
from tests.agent.sources.opcua.browse.plant import session, walked
from tests.peers.peer import NAMESPACE, Kind, running

VARIABLES = 2500
MAP = Path(hardware.__file__).parent / "machines/any_server.toml"


def test_a_folder_larger_than_an_answer_comes_by_continuation_points(tmp_path: Path) -> None:
    async def run(url: str) -> None:
        async with session(url) as opened:
            services = opened.client.uaclient.session
            browse_next, calls = services.browse_next, 0

            async def counted(request: Any) -> Any:
                nonlocal calls
                calls += 1
                return await browse_next(request)

            services.browse_next = counted
            space = await walked(opened)
        assert calls >= 2
        assert not space.failed
        found = {offer.node for offer in propose(space).signals}
        assert {f"nsu={NAMESPACE};s=v{number}" for number in range(VARIABLES)} <= found

    with running("node-opcua", tmp_path, variables=VARIABLES) as peer:
        asyncio.run(run(peer.url))


@pytest.mark.parametrize("kind", ["node-opcua", "asyncua"])
def test_the_map_of_any_server_finds_its_state_where_no_reference_leads(
    kind: Kind, tmp_path: Path
) -> None:
    known = load_map(MAP)

    async def run(url: str) -> None:
        space = AddressSpace(url, OBJECTS)
        beside = tuple(signal.node for signal in known.signals if signal.node)
        async with session(url) as opened:
            await browse(opened, space, Bounds(depth_max=1, beside=beside), lambda: None)
        found = propose(space, known)
        assert [offer.name for offer in found.signals] == [s.name for s in known.signals]
        assert found.missing == ()

    with running(kind, tmp_path) as peer:
        asyncio.run(run(peer.url))
