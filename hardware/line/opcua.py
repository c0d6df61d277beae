"""Machines behind an OPC UA server, with a count of every notification handed to clients.

In: variables by `machine/signal`, writes of value, status and source time. Out: an asyncua server
on 127.0.0.1, security None, anonymous; `sent`, the data-change notifications per variable that
were put in the queues of client subscriptions and not pushed out of them again. Fails with
LineError where the port cannot be bound. Before its first write a variable is
BadWaitingForInitialData.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer
from asyncua.server.server import Server
from asyncua.server.subscription_service import SubscriptionService
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes

from hardware.line.control import ExitCode, LineError
from hardware.line.faults import Bad, Value

NAMESPACE = "urn:andon:line"
PATH = "/andon/line"
STOP_DEADLINE_S = 0.5  # asyncua closes its sockets first, then waits up to 1 s for its clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Variable:
    """One variable of the server; its node id is `<machine>.<name>`."""

    machine: str
    name: str
    type: ua.VariantType = ua.VariantType.Double

    @property
    def key(self) -> str:
        """`machine/name`, as in the readings and the counts."""
        return f"{self.machine}/{self.name}"


class MachineServer:
    """An OPC UA server that holds `variables`.

    port : TCP port on 127.0.0.1; 0 for a free one.
    """

    def __init__(self, port: int, variables: Sequence[Variable]) -> None:
        self._port = port
        self._variables = variables
        self._nodes: dict[str, tuple[ua.NodeId, ua.VariantType]] = {}
        self._keys: dict[ua.NodeId, str] = {}
        self._server: Server | None = None
        self._subscribed: set[str] = set()
        self._subscription_made = asyncio.Event()
        self.sent: Counter[str] = Counter()
        self.overflowed: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """The endpoint's address, once open."""
        return f"opc.tcp://127.0.0.1:{self._port}{PATH}"

    async def open(self) -> None:
        """Bind and serve. Raises LineError(UNREACHABLE) where the port cannot be bound."""
        # Its warnings and tracebacks are about clients that went away; what matters is raised here.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
        server = Server(iserver=_CountingServer(self._count))
        await server.init()
        server.set_endpoint(self.url)
        server.set_server_name("Andon line")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        await server.set_application_uri(f"{NAMESPACE}:server")
        await self._add_variables(server)
        try:
            await server.start()
        except OSError as error:
            raise LineError(
                ExitCode.UNREACHABLE,
                f"cannot serve {self.url}: {error.strerror or error}; "
                "choose another --opcua-port/--port (0 takes a free one)",
            ) from None
        self._server = server
        self._port = server.bserver.port if server.bserver is not None else self._port
        for endpoint in server.iserver.endpoints:  # made before the free port was known
            endpoint.EndpointUrl = self.url
            endpoint.Server.DiscoveryUrls = [self.url]

    async def write(self, key: str, value: Value, time_ns: int) -> None:
        """Set a variable. time_ns : source time; OPC UA in Python carries microseconds of it."""
        node, kind = self._nodes[key]
        stamp: Any = _EPOCH + timedelta(microseconds=time_ns // 1000)
        if isinstance(value, Bad):
            data = ua.DataValue(None, ua.StatusCode(ua.UInt32(value.status)), stamp)
        else:
            data = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=stamp)
        assert self._server is not None, "write before open"
        aspace = self._server.iserver.aspace
        (await aspace.write_attribute_value(node, AttributeIds.Value, data)).check()

    async def wait_subscribed(self, *, every: bool) -> None:
        """Wait until clients monitor at least one variable, or every one."""
        enough = len(self._variables) if every else 1
        while len(self._subscribed) < enough:
            self._subscription_made.clear()
            await self._subscription_made.wait()

    async def close(self) -> None:
        """End all sessions and free the port, in about `STOP_DEADLINE_S` at most."""
        if self._server is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._server.stop(), STOP_DEADLINE_S)

    async def _add_variables(self, server: Server) -> None:
        space = await server.register_namespace(NAMESPACE)
        machines: dict[str, Any] = {}
        now: Any = datetime.now(UTC)
        waiting = ua.StatusCode(ua.UInt32(StatusCodes.BadWaitingForInitialData))
        for variable in self._variables:
            machine = variable.machine
            if machine not in machines:
                machines[machine] = await server.nodes.objects.add_object(
                    _node_id(machine, space), ua.QualifiedName(machine, space)
                )
            node = await machines[machine].add_variable(
                _node_id(f"{machine}.{variable.name}", space),
                ua.QualifiedName(variable.name, space),
                ua.get_default_value(variable.type),
                variable.type,
            )
            data = ua.DataValue(None, waiting, now)
            await server.iserver.aspace.write_attribute_value(node.nodeid, AttributeIds.Value, data)
            self._nodes[variable.key] = node.nodeid, variable.type
            self._keys[node.nodeid] = variable.key

    def _count(self, node: ua.NodeId, overflowed: bool) -> None:
        key = self._keys.get(node)
        if key is None:  # a node of the server itself, such as its clock
            return
        if overflowed:
            self.overflowed[key] += 1
        else:
            self.sent[key] += 1
        if key not in self._subscribed:
            self._subscribed.add(key)
            self._subscription_made.set()


def _node_id(name: str, space: int) -> ua.NodeId:
    return ua.NodeId(ua.String(name), ua.Int16(space))


Count = Callable[[ua.NodeId, bool], None]


class _CountingServer(InternalServer):
    def __init__(self, count: Count) -> None:
        super().__init__()
        self.allow_remote_admin = False
        self.subscription_service = _CountingSubscriptions(self.aspace, self, count)


class _CountingSubscriptions(SubscriptionService):
    """Counts what `InternalSubscription` queues for clients: asyncua itself keeps no such count.

    A full queue loses its oldest notification for the new one, so the number handed over stays.
    """

    def __init__(self, aspace: Any, iserver: InternalServer, count: Count) -> None:
        super().__init__(aspace, iserver)
        self._count = count

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        result = await super().create_subscription(params, callback, session_id, request_callback)
        subscription = self.subscriptions[result.SubscriptionId]
        enqueue = subscription.enqueue_datachange_event
        items = subscription.monitored_item_srv._monitored_items

        async def counted(mid: int, event: ua.MonitoredItemNotification, size_max: int) -> None:
            read = items[mid].read_value_id
            waiting = subscription._triggered_datachanges.get(mid, ())
            if read is not None and read.AttributeId == AttributeIds.Value:
                self._count(read.NodeId, 0 < size_max <= len(waiting))
            await enqueue(mid, event, size_max)

        subscription.enqueue_datachange_event = counted  # type: ignore[method-assign,assignment]
        return result
