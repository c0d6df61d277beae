"""A plant behind one OPC UA server: machines that follow companion specifications, and plain tags.

The types are a small part of the published ones, under their real namespaces and names.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

from asyncua import Server, ua

from agent.config import OpcuaConfig
from agent.sources.opcua.browse import OBJECTS, AddressSpace, Bounds, browse, connect
from agent.sources.opcua.browse.companions import DI, ECM, MACHINERY, PACKML, PLASTICS
from agent.sources.opcua.session import Limits

VENDOR = "urn:acme:plant"
UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
FOLDERS = 10
TAGS = 50
"""Tags of the hall: FOLDERS times TAGS."""

Build = Callable[[Server], Coroutine[Any, Any, None]]


class Plant:
    """A server in a thread of its own, with what `build` puts into it."""

    def __init__(self, build: Build) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = Server()
        self.call(self._open(build), 60)
        assert self.server.bserver is not None
        self.url = f"opc.tcp://127.0.0.1:{self.server.bserver.port}/plant"

    def call(self, coroutine: Coroutine[Any, Any, Any], deadline_s: float = 10) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(deadline_s)

    def stop(self) -> None:
        if self._loop.is_closed():
            return
        self.call(self.server.stop())
        self.call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def vanish(self) -> None:
        """Close every connection and listen no more, without a word."""
        bserver: Any = self.server.bserver
        self._loop.call_soon_threadsafe(bserver._server.close)
        for client in list(bserver.clients):
            self._loop.call_soon_threadsafe(client.transport.abort)

    async def _open(self, build: Build) -> None:
        await self.server.init()
        self.server.set_endpoint("opc.tcp://127.0.0.1:0/plant")
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await build(self.server)
        await self.server.start()
        assert self.server.bserver is not None
        url = f"opc.tcp://127.0.0.1:{self.server.bserver.port}/plant"
        for endpoint in self.server.iserver.endpoints:  # made before the free port was known
            endpoint.EndpointUrl = url
            endpoint.Server.DiscoveryUrls = [url]

    async def _cancel_all(self) -> None:
        left = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def plant(build: Build) -> Iterator[Plant]:
    running = Plant(build)
    try:
        yield running
    finally:
        running.stop()


def config_of(url: str) -> OpcuaConfig:
    return OpcuaConfig.model_validate(
        {
            "name": "plant", "endpoint": url, "machine": "plant", "security": "none",
            "signals": ({"name": "state", "node": "i=2259"},),
        }
    )  # fmt: skip


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Any]:
    opened = await connect(config_of(url), None)
    try:
        yield opened
    finally:
        await opened.close(delete_subscriptions=True)


class Grudging:
    """The services of a session whose server gives little at once.

    references_max : of one node in an answer; the rest by continuation points
    points_max : continuation points at one time
    nodes_max : in one call; more are BadTooManyOperations
    forget : continuation points that are invalid when they are used, in order of their making
    """

    def __init__(
        self,
        services: Any,
        *,
        references_max: int = 1000,
        points_max: int = 10,
        nodes_max: int = 1000,
        forget: Sequence[int] = (),
    ) -> None:
        self._services = services
        self.references_max, self.points_max = references_max, points_max
        self.nodes_max, self.forget = nodes_max, set(forget)
        self.points: dict[bytes, list[ua.ReferenceDescription]] = {}
        self.calls = self.made = self.refused = self.largest = 0

    async def browse(self, request: ua.BrowseParameters) -> list[ua.BrowseResult]:
        self._count(len(request.NodesToBrowse))
        results = await self._services.browse(request)
        return [self._part(result, list(result.References)) for result in results]

    async def browse_next(self, request: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        self._count(len(request.ContinuationPoints))
        results = []
        for point in request.ContinuationPoints:
            rest = self.points.pop(point, None)
            result = ua.BrowseResult()
            if rest is None:
                result.StatusCode = ua.StatusCode(
                    ua.UInt32(ua.StatusCodes.BadContinuationPointInvalid)
                )
            results.append(result if rest is None else self._part(result, rest))
        return results

    async def read(self, request: ua.ReadParameters) -> list[ua.DataValue]:
        self._count(len(request.NodesToRead))
        return list(await self._services.read(request))

    def _count(self, nodes: int) -> None:
        self.calls += 1
        self.largest = max(self.largest, nodes)
        if nodes > self.nodes_max:
            self.refused += 1
            raise ua.uaerrors.BadTooManyOperations

    def _part(self, result: ua.BrowseResult, references: list[Any]) -> ua.BrowseResult:
        result.References, rest = (
            references[: self.references_max],
            references[self.references_max :],
        )
        if not rest:
            return result
        if len(self.points) >= self.points_max:
            result.References = []
            result.StatusCode = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNoContinuationPoints))
            return result
        result.ContinuationPoint = b"%d" % self.made
        if self.made not in self.forget:
            self.points[result.ContinuationPoint] = rest
        self.made += 1
        return result


def behind(opened: Any, services: Any, **limits: int) -> Any:
    """The same session with other services and limits."""
    client = SimpleNamespace(uaclient=SimpleNamespace(session=services))
    return SimpleNamespace(client=client, limits=Limits(**limits), namespaces=opened.namespaces)


async def walked(opened: Any, start: str = OBJECTS, **bounds: Any) -> AddressSpace:
    space = AddressSpace("opc.tcp://plant", start)
    await browse(opened, space, Bounds(**bounds), lambda: None)
    return space


class Builder:
    """Puts types and instances into a server's address space."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.objects = server.nodes.objects
        self.index: dict[str, int] = {}
        self.types: dict[str, Any] = {}

    async def namespaces(self, *uris: str) -> None:
        for uri in uris:
            self.index[uri] = await self.server.register_namespace(uri)

    def id(self, uri: str, name: str) -> ua.NodeId:
        return ua.NodeId(ua.String(name), ua.Int16(self.index[uri]))

    def name(self, uri: str, name: str) -> ua.QualifiedName:
        return ua.QualifiedName(name, ua.UInt16(self.index[uri] if uri else 0))

    async def type(self, uri: str, name: str, base: Any) -> Any:
        above = self.types.get(base) or self.server.get_node(ua.NodeId(ua.Int32(base)))
        made = await above.add_object_type(self.id(uri, f"T.{name}"), self.name(uri, name))
        self.types[name] = made
        return made

    async def object(self, parent: Any, uri: str, name: str, type_: Any = None) -> Any:
        """An object without what its type would bring along."""
        path = parent.nodeid.Identifier
        made = await parent.add_object(self.id(VENDOR, f"{path}/{name}"), self.name(uri, name))
        if type_ is not None:
            base = ua.NodeId(ua.Int32(ua.ObjectIds.BaseObjectType))
            above = self.types.get(type_)
            target = above.nodeid if above is not None else ua.NodeId(ua.Int32(type_))
            await self._retype(made, base, target)
        return made

    async def variable(
        self,
        parent: Any,
        uri: str,
        name: str,
        value: Any,
        type_: ua.VariantType | None = None,
        *,
        datatype: ua.NodeId | None = None,
        definition: int | None = None,
        property_: bool = False,
    ) -> Any:
        add = parent.add_property if property_ else parent.add_variable
        identifier = self.id(VENDOR, f"{parent.nodeid.Identifier}/{name}")
        made = await add(identifier, self.name(uri, name), value, type_, datatype)
        if definition is not None:
            base = ua.NodeId(ua.Int32(ua.ObjectIds.BaseDataVariableType))
            await self._retype(made, base, ua.NodeId(ua.Int32(definition)))
        return made

    async def analog(
        self, parent: Any, uri: str, name: str, value: Any, code: str, range_: Any = None,
        instrument: Any = None,
    ) -> Any:  # fmt: skip
        made = await self.variable(parent, uri, name, value, definition=ua.ObjectIds.AnalogItemType)
        unit = int.from_bytes(code.encode(), "big")
        information = ua.EUInformation(
            UNECE, ua.Int32(unit), ua.LocalizedText(code), ua.LocalizedText("")
        )
        await self.variable(made, "", "EngineeringUnits", information, property_=True)
        for title, span in (("EURange", range_), ("InstrumentRange", instrument)):
            if span is not None:
                await self.variable(made, "", title, ua.Range(*span), property_=True)
        return made

    async def state(self, parent: Any, uri: str, name: str, type_: str, value: str | None) -> Any:
        """A state machine; None: its parent's state is not active."""
        machine = await self.object(parent, uri, name, type_)
        current = await self.variable(
            machine, "", "CurrentState", ua.LocalizedText(value or ""),
            definition=ua.ObjectIds.FiniteStateVariableType,
        )  # fmt: skip
        await self.variable(current, "", "Id", ua.NodeId(ua.Int32(1)), property_=True)
        if value is None:
            status = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadStateNotActive))
            await self.server.iserver.aspace.write_attribute_value(
                current.nodeid, ua.AttributeIds.Value, ua.DataValue(None, status)
            )
        return machine

    async def _retype(self, node: Any, old: ua.NodeId, new: ua.NodeId) -> None:
        has_type = ua.ObjectIds.HasTypeDefinition
        await node.delete_reference(old, has_type, forward=True, bidirectional=False)
        await node.add_reference(new, has_type, forward=True, bidirectional=False)
        # asyncua keeps the type in the parent's reference too, and answers Browse from there.
        parents = await node.get_referenced_nodes(
            ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Inverse
        )
        space = self.server.iserver.aspace
        for parent in parents:
            for reference in space[parent.nodeid].references:
                if reference.NodeId == node.nodeid:
                    reference.TypeDefinition = new


async def build_machines(server: Server) -> None:
    """A filler (Machinery and PackML), an energy meter, a press and plain tags."""
    b = Builder(server)
    await b.namespaces(DI, MACHINERY, PACKML, ECM, PLASTICS, VENDOR)
    finite = ua.ObjectIds.FiniteStateMachineType
    for uri, name in (
        (MACHINERY, "MachineryItemState_StateMachineType"),
        (MACHINERY, "MachineryOperationModeStateMachineType"),
        (PACKML, "PackMLBaseStateMachineType"),
        (PACKML, "PackMLMachineStateMachineType"),
        (PACKML, "PackMLExecuteStateMachineType"),
    ):
        await b.type(uri, name, finite)
    await b.type(PACKML, "PackMLBaseObjectType", ua.ObjectIds.BaseObjectType)
    await b.type(VENDOR, "FillerType", "PackMLBaseObjectType")
    machines = await b.object(b.objects, MACHINERY, "Machines")
    await _filler(b, machines)
    await _others(b, machines)
    await _tags(b)


async def _filler(b: Builder, machines: Any) -> None:
    filler = await b.object(machines, VENDOR, "Filler 1", "FillerType")
    plate = await b.object(filler, DI, "Identification")
    for name, value in (
        ("Manufacturer", ua.LocalizedText("Acme")),
        ("Model", ua.LocalizedText("F 200")),
        ("SerialNumber", "4711"),
        ("ProductInstanceUri", "urn:acme:filler:4711"),
    ):
        await b.variable(plate, DI, name, value, property_=True)
    blocks = await b.object(filler, MACHINERY, "MachineryBuildingBlocks")
    item_state = "MachineryItemState_StateMachineType"
    await b.state(blocks, MACHINERY, "MachineryItemState", item_state, "Executing")
    mode = "MachineryOperationModeStateMachineType"
    await b.state(blocks, MACHINERY, "MachineryOperationMode", mode, "Processing")
    counters = await b.object(blocks, DI, "OperationCounters")
    await b.variable(counters, DI, "PowerOnDuration", 1.0, property_=True)
    status = await b.object(filler, PACKML, "Status")
    await b.analog(status, PACKML, "CurMachSpeed", 1.5, "RPM", (0.0, 3000.0), (-10.0, 4000.0))
    await b.variable(status, PACKML, "EquipmentBlocked", False)
    base = await b.state(
        filler, PACKML, "BaseStateMachine", "PackMLBaseStateMachineType", "Cleared"
    )
    machine_type = "PackMLMachineStateMachineType"
    machine = await b.state(base, PACKML, "MachineState", machine_type, "Stopped")
    await b.state(machine, PACKML, "ExecuteState", "PackMLExecuteStateMachineType", None)


async def _others(b: Builder, machines: Any) -> None:
    press = await b.object(machines, VENDOR, "Press")
    state = "MachineryItemState_StateMachineType"
    await b.state(press, MACHINERY, "MachineryItemState", state, "NotExecuting")
    jobs = await b.object(press, PLASTICS, "ActiveJobValues")
    for name in ("JobCycleCounter", "JobGoodPartsCounter"):
        await b.variable(jobs, PLASTICS, name, 5, ua.VariantType.UInt64)
    await b.variable(jobs, PLASTICS, "LastCycleTime", 1234.0)
    meter = await b.object(machines, VENDOR, "Meter")
    await b.analog(meter, ECM, "AcActivePowerTotal", 5.0, "WTT")
    await b.analog(meter, ECM, "AcActiveEnergyTotalImportLp", 5.0, "WHR")
    await b.analog(meter, VENDOR, "GasEnergy", 5.0, "KWH")


async def _tags(b: Builder) -> None:
    hall = await b.object(b.objects, VENDOR, "Hall 2")
    for name, value in (
        ("Temp;Zone=1", 20.5), ("Recipe", "A-17"), ("ErrorCode", 3), ("PartsTotal", 7),
        ("温度", 21.0), ("Image", b"\xff\xd8"), ("Spectrum", [0.5] * 32), ("Gains", [1.0, 2.0]),
        ("When", ua.DateTime(2026, 1, 1)),
    ):  # fmt: skip
        await b.variable(hall, VENDOR, name, value)
    setpoint = await b.variable(hall, VENDOR, "Setpoint", 50.0)
    await setpoint.set_writable()
    hidden = await b.variable(hall, VENDOR, "Hidden", 1.0)
    for attribute in (ua.AttributeIds.AccessLevel, ua.AttributeIds.UserAccessLevel):
        nothing = ua.DataValue(ua.Variant(0, ua.VariantType.Byte))
        await b.server.iserver.aspace.write_attribute_value(hidden.nodeid, attribute, nothing)
    light = await b.variable(hall, VENDOR, "Light", 2)
    names = [ua.LocalizedText(text) for text in ("off", "yellow", "red")]
    await b.variable(light, "", "EnumStrings", names, property_=True)
    wave = await b.variable(
        hall, VENDOR, "Vibration", [0.0] * 101, definition=ua.ObjectIds.YArrayItemType
    )
    second = ua.EUInformation(UNECE, ua.Int32(5457219), ua.LocalizedText("s"), ua.LocalizedText())
    axis = ua.AxisInformation(EngineeringUnits=second, EURange=ua.Range(0.0, 0.1))
    await b.variable(wave, "", "XAxisDefinition", axis, property_=True)


async def build_many(server: Server, tags: int = TAGS) -> None:
    """FOLDERS folders with tags each, and references that lead back and round in circles."""
    b = Builder(server)
    await b.namespaces(VENDOR)
    hall = await b.object(b.objects, VENDOR, "Hall")
    first = last = hall
    for folder in range(FOLDERS):
        last = await b.object(hall, VENDOR, f"Cell {folder}")
        first = last if folder == 0 else first
        for tag in range(tags):
            await b.variable(last, VENDOR, f"Tag{tag}", float(tag))
    await last.add_reference(b.objects, ua.ObjectIds.Organizes, bidirectional=False)
    await last.add_reference(first, ua.ObjectIds.Organizes, bidirectional=False)
    await hall.add_reference(hall, ua.ObjectIds.Organizes, bidirectional=False)
