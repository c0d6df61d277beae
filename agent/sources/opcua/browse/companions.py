"""Companion specifications: which a server follows, its machines, and what is known of their parts.

Enters: an address space. Leaves: the machines in it with maker, model and serial number, and for
single variables what a specification says of them. Recognised by the URI of the namespace and the
BrowseName of the type, so that a vendor's subtypes are recognised too.

Read in the specifications: OPC 10000-100 1.04 (DI) 4.5.5; OPC 40001-1 1.04 (Machinery) 8.6, 9.2,
12.2, 13.2, 14.2; OPC 40501-1 1.01 (Machine Tools) 8.3, 8.4.12; OPC 30050 1.01 (PackML) 6.3; OPC
34100 1.0 (Energy Consumption Management) 7.1; OPC 40083 1.03 and 40077 1.01 (plastics).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agent.signals import Kind
from agent.sources.opcua.browse.address_space import AddressSpace, Node

DI: Final = "http://opcfoundation.org/UA/DI/"
MACHINERY: Final = "http://opcfoundation.org/UA/Machinery/"
MACHINE_TOOL: Final = "http://opcfoundation.org/UA/MachineTool/"
PACKML: Final = "http://opcfoundation.org/UA/PackML/"
ECM: Final = "http://opcfoundation.org/UA/ECM/"
PLASTICS: Final = "http://opcfoundation.org/UA/PlasticsRubber/GeneralTypes/"
IMM: Final = "http://opcfoundation.org/UA/PlasticsRubber/IMM2MES/"

SPECIFICATIONS: Final = {
    DI: "OPC 10000-100 Devices",
    MACHINERY: "OPC 40001-1 Machinery",
    MACHINE_TOOL: "OPC 40501-1 Machine Tools",
    PACKML: "OPC 30050 PackML",
    ECM: "OPC 34100 Energy Consumption Management",
    PLASTICS: "OPC 40083 Plastics and Rubber Machinery",
    IMM: "OPC 40077 Injection Moulding Machines",
}

_MACHINE_TYPES: Final = (
    (MACHINE_TOOL, "MachineToolType"),
    (PACKML, "PackMLBaseObjectType"),
    (IMM, "IMM_MES_InterfaceType"),
)
PACKML_STATE: Final = "OPC 30050, 6.3.8"
MACHINERY_STATE: Final = "OPC 40001-1, 12.2"
_NAMEPLATES: Final = ("Identification", "MachineInformation")
_PRODUCT_CHARS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine found on a server. `root` is its node; texts are "" where nothing is said."""

    root: str
    name: str
    model: str = ""
    serial: str = ""
    product_uri: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What a specification says of a variable."""

    kind: Kind
    unit: str
    source: str


KNOWN: Final = {
    (DI, "PowerOnDuration"): Known("counter", "ms", "OPC 10000-100, 4.5.5"),
    (DI, "OperationDuration"): Known("counter", "ms", "OPC 10000-100, 4.5.5"),
    (DI, "OperationCycleCounter"): Known("counter", "", "OPC 10000-100, 4.5.5"),
    (MACHINE_TOOL, "PowerOnDuration"): Known("counter", "", "OPC 40501-1, 8.3.9"),
    (MACHINE_TOOL, "PartsProducedInLifetime"): Known("counter", "", "OPC 40501-1, 8.4.12"),
    (PLASTICS, "JobStatus"): Known("discrete", "", "OPC 40083, 18.4"),
    (PLASTICS, "MachineMode"): Known("discrete", "", "OPC 40083, 12.1"),
    (PLASTICS, "StandstillReasonId"): Known("text", "", "OPC 40083, 14.1"),
    (PLASTICS, "LastCycleTime"): Known("analog", "ms", "OPC 40083, 18.4.7"),
    (PLASTICS, "AverageCycleTime"): Known("analog", "ms", "OPC 40083, 18.4.7"),
    **{
        (PLASTICS, f"{of}{what}Counter"): Known("counter", "", "OPC 40083, 18.4.7")
        for of in ("Job", "Box", "Machine")
        for what in ("Cycle", "Parts", "GoodParts", "BadParts", "TestSamples")
    },
    **{
        (ECM, f"{what}EnergyTotal{way}{precision}"): Known("counter", "", "OPC 34100, 7.1.3")
        for what in ("AcActive", "AcReactive")
        for way in ("Import", "Export")
        for precision in ("Lp", "Hp")
    },
}
"""Variables by the namespace and name of their BrowseName; these are signals even where the
specification makes them properties."""


def specifications(space: AddressSpace) -> list[str]:
    """The specifications whose types are in use."""
    used = {name.rpartition("#")[0] for line in space.types.values() for name in line}
    used |= {node.name_uri for node in space.nodes.values()}
    return [title for uri, title in SPECIFICATIONS.items() if uri in used]


def machines(space: AddressSpace) -> list[Machine]:
    """The machines, each named by its BrowseName; none where nothing tells of one."""
    roots = list(dict.fromkeys(_roots(space)))
    inner = {root for root in roots if _is_below(space, root, set(roots))}
    return [_machine(space, space.nodes[root]) for root in roots if root not in inner]


def machine_state(space: AddressSpace, node: Node) -> str:
    """What says that a variable is the machine's state: PACKML_STATE, MACHINERY_STATE or ""."""
    if node.name != "CurrentState" or node.id not in space.parents:
        return ""
    parent = space.nodes[space.parents[node.id]]
    if space.is_of(parent, PACKML, "PackMLExecuteStateMachineType"):
        return PACKML_STATE
    if space.is_of(parent, MACHINERY, "MachineryItemState_StateMachineType"):
        return MACHINERY_STATE
    return ""


def _roots(space: AddressSpace) -> Iterator[str]:
    for folder, uri in (("Machines", MACHINERY), ("DeviceSet", DI)):
        for node in space.nodes.values():
            if (node.name, node.name_uri) == (folder, uri) and not node.is_variable:
                yield from (c.id for c in space.children(node) if not c.is_variable)
    for node in space.nodes.values():
        if not node.is_variable and any(space.is_of(node, *type_) for type_ in _MACHINE_TYPES):
            yield node.id


def _is_below(space: AddressSpace, node: str, roots: set[str]) -> bool:
    """Whether a root belongs to another one."""
    lineage = space.lineage(space.nodes[node])
    return any(above.id in roots for above in lineage if above.id != node)


def _machine(space: AddressSpace, root: Node) -> Machine:
    plates = [plate for name in _NAMEPLATES if (plate := space.child(root, name))]
    if blocks := space.child(root, "MachineryBuildingBlocks"):
        plates += [plate for name in _NAMEPLATES if (plate := space.child(blocks, name))]

    def said(name: str) -> str:
        for plate in (*plates, root):
            found = space.child(plate, name)
            if found and found.attributes and isinstance(found.attributes.value, str):
                return " ".join(found.attributes.value.split())[:_PRODUCT_CHARS_MAX]
        return ""

    model = f"{said('Manufacturer')} {said('Model')}".strip()[:_PRODUCT_CHARS_MAX]
    return Machine(root.id, root.name, model, said("SerialNumber"), said("ProductInstanceUri"))
