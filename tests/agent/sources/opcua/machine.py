"""A machine with an OPC UA server, sources that read it, and what they read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua

from agent.config import OpcuaConfig
from agent.signals import Path, Signal
from agent.sources.opcua import OpcuaSource
from hardware.line.opcua import NAMESPACE, MachineServer, Variable
from tests.conformance.source import CONNECT_S, Read

PATH = Path("acme", "guiyang", "assembly", "line-1")


def signal_of(name: str, kind: str = "analog", node: str = "") -> Signal:
    node = node or f"nsu={NAMESPACE};s=press-01.{name}"
    return Signal(PATH, "press-01", name, "press", kind=kind, node=node)  # type: ignore[arg-type]


def config_of(url: str, given: Sequence[Signal], /, **options: Any) -> OpcuaConfig:
    return OpcuaConfig.model_validate(
        {
            "name": "press", "endpoint": url, "machine": "press-01", "security": "none",
            "publishing_interval_ms": 50, "connect_timeout_s": CONNECT_S,
            "signals": tuple({"name": s.name, "node": s.node} for s in given),
            **options,
        }
    )  # fmt: skip


def source_of(url: str, signals: Sequence[Signal] = (), **options: Any) -> OpcuaSource:
    signals = signals or [signal_of("ram_force")]
    return OpcuaSource(config_of(url, signals, **options), list(enumerate(signals)))


class Machine:
    """One server in a thread of its own: asyncua takes seconds to build one's address space."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = MachineServer(0, variables)
        self._call(self._server.open()).result(30)
        self.url = self._server.url

    def stop(self) -> None:
        self._call(self._server.close()).result(5)
        self._call(self._cancel_all()).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _cancel_all(self) -> None:
        """End what asyncua leaves running."""
        left = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def write(self, name: str, value: Any, time_ns: int | None = None) -> None:
        """Set a variable of press-01."""
        moment_ns = time.time_ns() if time_ns is None else time_ns
        await asyncio.wrap_future(
            self._call(self._server.write(f"press-01/{name}", value, moment_ns))
        )

    async def write_status(self, name: str, value: float, status: int, time_ns: int) -> None:
        """Set a variable of press-01, and its status."""
        moment: Any = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
        data = ua.DataValue(ua.Variant(value), ua.StatusCode(ua.UInt32(status)), moment)
        node, _ = self._server._nodes[f"press-01/{name}"]
        assert self._server._server is not None
        space = self._server._server.iserver.aspace
        await asyncio.wrap_future(
            self._call(space.write_attribute_value(node, ua.AttributeIds.Value, data))
        )

    def _call(self, call: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(call, self._loop)


def column(read: Read, signal: int, name: str) -> list[Any]:
    return [
        item
        for batch, _ in read
        for number, item in zip(batch.signal, getattr(batch, name), strict=True)
        if number == signal
    ]
