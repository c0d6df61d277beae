"""Events and alarms of a server that nobody here wrote: node-opcua's."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.agent.sources.opcua.events.alarming import HANDLES, Listener
from tests.peers.peer import Peer, running

EVENTS, STATE = HANDLES[0]
TABLE = {"name": "alarms", "state": "Held", "state_clear": "Execute"}


def test_alarms_and_events_of_node_opcua_become_texts_and_states(tmp_path: Path) -> None:
    with running("node-opcua", tmp_path) as peer:
        peer.do("alarm", active=True)
        asyncio.run(_listen(peer))


async def _listen(peer: Peer) -> None:
    listener = Listener(peer.url, TABLE)
    await listener.open()
    try:
        (held,) = await listener.until(1, STATE)
        assert held.startswith("Held: PressureHigh"), (
            "what was active before is told by the refresh"
        )
        await peer.ask("alarm", active=False)
        assert await listener.until(2, STATE) == [held, "Execute"]
        await peer.ask("event", message="door opened", severity=321)
        while not any("door opened" in text for text in listener.texts(EVENTS)):
            await listener.read()
        assert listener.texts(EVENTS)[-1].startswith("severity 321, ")
        assert "(PressureHigh active" in listener.texts(EVENTS)[0]
        await peer.ask("alarm", active=True)
        await listener.until(3, STATE)
        told = len(listener.texts(EVENTS))
        await listener.subscribe()
        assert (await listener.until(4, STATE))[3] == listener.texts(STATE)[2]
        assert len(listener.texts(EVENTS)) == told, "what is told again is not told twice"
    finally:
        await listener.close()
