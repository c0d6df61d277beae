"""A server that tells events and alarms, and what is read of them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from asyncua import Server, ua
from asyncua.common import event_objects
from asyncua.common.utils import Buffer
from asyncua.server.event_generator import EventGenerator
from asyncua.ua.ua_binary import struct_from_binary

from agent.config import OpcuaConfig
from agent.sources.opcua.events import Events
from agent.sources.opcua.session import Session, checked, open_session
from agent.sources.opcua.wire import Publication, publication

HANDLES = [(100, 101), (102, 103)]
DEADLINE_S = 10.0
KINDS: Any = event_objects  # it has no types


class Alarming:
    """asyncua's server in a thread of its own; the Server object tells of all its alarms."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"opc.tcp://127.0.0.1:{free.getsockname()[1]}/alarming"
        self._alarms: dict[str, EventGenerator] = {}
        self._do(self._open())

    async def _open(self) -> None:
        self.server = Server()
        self.server.iserver.bind_condition_methods = True  # ConditionRefresh
        await self.server.init()
        self.server.set_endpoint(self.url)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await self.server.start()

    def stop(self) -> None:
        self._do(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    def event(self, message: str, severity: int, *, kind: int = 0, at: float | None = None) -> None:
        """Tell a plain event, or one of a type of namespace 0."""
        self._do(self._event(message, severity, kind, at))

    async def _event(self, message: str, severity: int, kind: int, at: float | None) -> None:
        event = KINDS.BaseEvent(message=message, severity=severity)
        event.SourceName = "press"
        if kind:
            event.EventType = ua.NodeId(ua.Int32(kind))
        generator = await self.server.get_event_generator(event)
        await generator.trigger(_moment(at), message)

    def alarm(
        self, name: str, message: str, *, active: bool, severity: int = 700,
        retain: bool | None = None, branch: bool = False, at: float | None = None,
    ) -> None:  # fmt: skip
        """Tell of a condition as it now stands."""
        self._do(self._alarm(name, message, active, severity, retain, branch, at))

    async def _alarm(
        self, name: str, message: str, active: bool, severity: int,
        retain: bool | None, branch: bool, at: float | None,
    ) -> None:  # fmt: skip
        generator = self._alarms.get(name)
        if generator is None:
            condition = KINDS.AlarmCondition()
            condition.add_property(
                "NodeId", ua.NodeId.from_string(f"ns=1;s=alarm-{name}"), ua.VariantType.NodeId
            )
            condition.ConditionName, condition.SourceName = name, "press"
            generator = self._alarms[name] = await self.server.get_event_generator(condition)
        told = generator.event
        told.Severity, told.Retain = severity, active if retain is None else retain
        setattr(told, "ActiveState/Id", active)
        setattr(told, "AckedState/Id", not active)
        told.BranchId = ua.NodeId.from_string("ns=1;s=branch") if branch else None
        await generator.trigger(_moment(at), message)

    def forget(self, name: str) -> None:
        """The condition is gone, and nobody is told."""
        node = self._alarms.pop(name).event.NodeId
        self.server.iserver.subscription_service._conditions.pop(node, None)


def _moment(at: float | None) -> datetime:
    return datetime.fromtimestamp(time.time() if at is None else at, UTC)


class Listener:
    """One session with a subscription, and the events that come over it."""

    def __init__(self, url: str, *tables: dict[str, Any]) -> None:
        self._config = OpcuaConfig.model_validate(
            {
                "name": "press", "endpoint": url, "machine": "press-01", "security": "none",
                "signals": ({"name": "force", "node": "i=2258"},), "events": tables,
            }
        )  # fmt: skip
        self.events = Events("press", self._config.events)
        self.told: list[tuple[int, int, str]] = []
        self.overflowed = 0
        self.subscription = 0
        self.session: Session

    async def open(self) -> None:
        self.session = await open_session(self._config, None)
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = 20
        request.Parameters.RequestedMaxKeepAliveCount = 5
        request.Parameters.RequestedLifetimeCount = 1000
        request.Parameters.PublishingEnabled = True
        body = await self.session.request(request)
        answer = struct_from_binary(ua.CreateSubscriptionResponse, Buffer(body))
        self.subscription = answer.Parameters.SubscriptionId
        await self.subscribe()

    async def subscribe(self) -> None:
        handles = HANDLES[: len(self._config.events)]
        await self.events.open(self.session, self.subscription, handles)

    async def close(self) -> None:
        await self.session.close(delete_subscriptions=True)

    async def publish(self) -> Publication:
        body = await asyncio.wait_for(self.session.publish([]), DEADLINE_S)
        return publication(checked(body))

    async def read(self) -> None:
        """One publication; keep-alives too."""
        items = self.events.items([await self.publish()], time.time_ns())
        self.overflowed += items.overflowed
        for handle, time_ns, place in zip(items.handle, items.time_ns, items.value, strict=True):
            self.told.append((int(handle), int(time_ns), items.texts[int(place)]))
        if self.events.is_refresh_due:
            await self.events.refresh()

    async def until(self, count: int, handle: int = HANDLES[0][0]) -> list[str]:
        """The texts of a handle, once there are so many."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.texts(handle)) < count:
                await self.read()
        return self.texts(handle)

    def texts(self, handle: int) -> list[str]:
        return [text for one, _, text in self.told if one == handle]

    def times(self, handle: int) -> list[int]:
        return [time_ns for one, time_ns, _ in self.told if one == handle]
