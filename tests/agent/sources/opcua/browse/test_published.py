"""The published models themselves, in asyncua's server, with machines made of their types."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncua import Server, ua

import hardware
from agent.sources.opcua.browse import AddressSpace, load_map, propose
from agent.sources.opcua.browse.companions import DI, MACHINERY, PACKML
from tests.agent.sources.opcua.browse.plant import plant, session, walked
from tests.peers.npm import NODE_OPCUA, install

MAPS = Path(hardware.__file__).parent / "machines"
NODESETS = NODE_OPCUA / "node_modules/node-opcua-nodesets/nodesets"


async def build(server: Server) -> None:
    """A filler of PackML's type and a robot with the building blocks of Machinery."""
    for name in ("Di", "IA", "Machinery", "PackML"):
        file = str(NODESETS / f"Opc.Ua.{name}.NodeSet2.xml")
        await server.import_xml(file, strict_mode=False)
    own = await server.register_namespace("urn:acme")
    index = {uri: await server.get_namespace_index(uri) for uri in (DI, MACHINERY, PACKML)}

    def type_(uri: str, number: int) -> ua.NodeId:
        return ua.NodeId(ua.Int32(number), ua.Int16(index[uri]))

    machines = server.get_node(type_(MACHINERY, 1001))
    await machines.add_object(own, "Filler", type_(PACKML, 6), instantiate_optional=True)
    robot = await machines.add_object(own, "Robot")
    for number, uri, name in (
        (1012, DI, "Identification"),
        (1002, MACHINERY, "MachineryItemState"),
        (1009, DI, "OperationCounters"),
    ):
        title = ua.QualifiedName(name, ua.UInt16(index[uri]))
        node = ua.NodeId(ua.String(f"Robot.{name}"), ua.Int16(own))
        await robot.add_object(node, title, type_(MACHINERY, number))


@pytest.fixture(scope="module")
def space() -> Iterator[AddressSpace]:
    install(NODE_OPCUA)

    async def run(url: str) -> AddressSpace:
        async with session(url) as opened:
            return await walked(opened)

    with plant(build) as running:
        yield asyncio.run(run(running.url))


def test_machines_of_the_published_types_are_recognised(space: AddressSpace) -> None:
    found = propose(space)
    assert "OPC 30050 PackML" in found.specifications
    assert "OPC 40001-1 Machinery" in found.specifications
    states = {(o.machine, o.name) for o in found.signals if o.state}
    assert states == {("Filler", "execute_state"), ("Robot", "machinery_item_state")}
    kinds = {(o.machine, o.name): o.kind for o in found.signals}
    assert kinds["Filler", "cur_mach_speed"] == "analog"
    assert kinds["Filler", "unit_mode_current"] == "discrete"
    assert kinds["Robot", "power_on_duration"] == "counter"


def test_the_map_of_packml_finds_what_there_is_and_names_the_rest(space: AddressSpace) -> None:
    found = propose(space, load_map(MAPS / "packml.toml"))
    # Optional, and asyncua makes nothing optional below the first level.
    assert found.missing == ("speed_design", "time_since_reset")
    assert {offer.machine for offer in found.signals} == {"Filler"}
    assert [offer.name for offer in found.signals if offer.state] == ["execute_state"]


def test_the_map_of_machinery_finds_the_building_blocks(space: AddressSpace) -> None:
    found = propose(space, load_map(MAPS / "machinery.toml"))
    names = {(offer.machine, offer.name) for offer in found.signals}
    assert {("Robot", "item_state"), ("Robot", "operation_duration")} <= names
    assert found.missing == ("operation_mode",)
