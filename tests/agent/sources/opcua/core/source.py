"""The source over a played server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from agent.config import OpcuaConfig
from agent.signals import Signal
from agent.sources.opcua import OpcuaSource
from tests.agent.sources.opcua.core.played import Listener, PlayedServer
from tests.agent.sources.opcua.machine import config_of, signal_of


def given(*names: str, **options: Any) -> tuple[OpcuaConfig, list[tuple[int, Signal]]]:
    signals = [signal_of(name, node=f"ns=2;s={name}") for name in names]
    return config_of("opc.tcp://played:1", signals, **options), list(enumerate(signals))


def source_of(*names: str, **options: Any) -> OpcuaSource:
    return OpcuaSource(*given(*(names or ("v0", "v1")), **options))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


async def begun(listener: Listener) -> None:
    """First values came, and their silence is vouched for."""
    await listener.until(
        lambda: listener.values(0) and listener.batches[-1].alive_until_ns, "first values"
    )


async def told(listener: Listener, signal: int, value: float) -> None:
    await listener.until(
        lambda: value in listener.values(signal), f"{value} of {signal} never came"
    )


def lost_with(server: PlayedServer, *values: float) -> None:
    """Messages that do not arrive, then the connection is lost."""
    for value in values:
        server.write("v0", value)
        server.publish(lost=True)
    server.session.cut()
