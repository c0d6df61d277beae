"""The walk: every object and variable below a start, breadth first, then their attributes.

Enters: an address space, empty or as far as a former run came. Leaves: the same, with all that
`nodes_max` and `depth_max` allow. Fails: as `requests.py` does; what was found until then is in the
address space, which is whole after every call, so a walk may be cancelled at any time.

References that lead back to a node that is known are noted and not followed. Nodes of the
OPC UA namespace itself (the server's own diagnostics, namespaces, aliases) are entered only where
the walk begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua

from agent.sources.opcua.browse.address_space import UA, AddressSpace, Attributes, Node
from agent.sources.opcua.browse.requests import UNDECODABLE, Answer, Requests

OBJECTS: Final = "i=85"
"""The folder Objects (OPC 10000-5, 8.2.4)."""
ARRAY_VALUES_MAX: Final = 64
"""So many values of an array are read to tell what it is."""
ANCESTORS_MAX: Final = 50
"""Types above a type; deeper ones are a mistake of the server."""
TEXT_CHARS_MAX: Final = 500

Step = Callable[[], None]

_ATTRIBUTES: Final = (
    ua.AttributeIds.DataType,
    ua.AttributeIds.ValueRank,
    ua.AttributeIds.UserAccessLevel,
    ua.AttributeIds.Historizing,
    ua.AttributeIds.Description,
    ua.AttributeIds.MinimumSamplingInterval,
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a walk goes.

    nodes_max : nodes that are noted
    depth_max : references from the start
    beside : variables to be read even where no reference leads to them
    """

    nodes_max: int = 100_000
    depth_max: int = 30
    beside: tuple[str, ...] = ()


async def walk(requests: Requests, space: AddressSpace, bounds: Bounds, step: Step) -> None:
    """Find what there is, read its attributes, and resolve its types. `step` follows every call."""
    space.namespaces = requests.namespaces.uris
    space.nodes.setdefault(space.start, Node(space.start, "", "", False, "", 0))
    while len(space.nodes) < bounds.nodes_max and (pending := space.pending(bounds.depth_max)):
        for begin in range(0, len(pending), requests.browse_max):
            group = pending[begin : begin + requests.browse_max]
            for node, answer in zip(group, await requests.references(group), strict=True):
                _add(space, requests, space.nodes[node], answer, bounds.nodes_max)
            step()
    for node in bounds.beside:
        space.nodes.setdefault(node, Node(node, node, "", True, "", 0, browsed=True))
    unread = space.unread()
    while unread:
        count = max(1, requests.read_max // len(_ATTRIBUTES))
        await _read(requests, space, unread[:count])
        unread = unread[count:]
        step()
    await _resolve_types(requests, space)


def _add(
    space: AddressSpace, requests: Requests, node: Node, answer: Answer, nodes_max: int
) -> None:
    """Note the references of one node. One that is not noted to the end stays to be browsed."""
    if answer.problem:
        space.failed[answer.problem] += 1
    children: dict[str, None] = {}
    for reference in answer.references:
        child = _node(requests, reference, node.depth + 1)
        if child is None or not _is_entered(space, child.id):
            continue
        if child.id not in space.nodes:
            if len(space.nodes) >= nodes_max:
                break
            space.nodes[child.id] = child
        children[child.id] = None
    else:
        node.browsed = True
    node.children = list(children)


def _node(requests: Requests, reference: ua.ReferenceDescription, depth: int) -> Node | None:
    """The node that a reference leads to; None where it is on another server."""
    if getattr(reference.NodeId, "ServerIndex", 0):
        return None
    names = requests.namespaces
    browse_name = reference.BrowseName
    return Node(
        names.text(reference.NodeId),
        browse_name.Name or reference.DisplayName.Text or "",
        names.uri(browse_name.NamespaceIndex),
        reference.NodeClass == ua.NodeClass.Variable,
        names.text(reference.TypeDefinition),
        depth,
    )


def _is_entered(space: AddressSpace, node: str) -> bool:
    own = "i=" if space.start != OBJECTS else "nothing"
    return node.startswith(("ns=", "nsu=", own)) or node in space.nodes


async def _read(requests: Requests, space: AddressSpace, nodes: Sequence[str]) -> None:
    wanted = [(node, attribute, None) for node in nodes for attribute in _ATTRIBUTES]
    answers = await requests.read(wanted)
    width = len(_ATTRIBUTES)
    found = [
        _attributes(requests, answers[begin : begin + width])
        for begin in range(0, len(answers), width)
    ]
    # Of an array a part will do; a server that cannot cut one out says so, and sends nothing.
    ranges = [f"0:{ARRAY_VALUES_MAX - 1}" if about.rank == 1 else None for about in found]
    values = await requests.read(
        [(node, ua.AttributeIds.Value, part) for node, part in zip(nodes, ranges, strict=True)]
    )
    for node, about, value in zip(nodes, found, values, strict=True):
        _take_value(about, value)
        space.nodes[node].attributes = about


def _attributes(requests: Requests, answers: Sequence[ua.DataValue | None]) -> Attributes:
    data_type, rank, access, historizing, description, sampling_ms = map(_plain, answers)
    text = description.Text if isinstance(description, ua.LocalizedText) else None
    return Attributes(
        data_type=requests.namespaces.text(data_type) if isinstance(data_type, ua.NodeId) else "",
        rank=rank if isinstance(rank, int) else -1,
        access=access if isinstance(access, int) else 0,
        historizing=historizing is True,
        description=(text or "")[:TEXT_CHARS_MAX],
        sampling_ms=float(sampling_ms) if isinstance(sampling_ms, int | float) else None,
    )


def _plain(data: ua.DataValue | None) -> Any:
    if data is None or data.Value is None:
        return None
    return data.Value.Value if data.StatusCode is None or data.StatusCode.is_good() else None


def _take_value(about: Attributes, data: ua.DataValue | None) -> None:
    if data is None or data.Value is None:
        return
    value = data.Value.Value
    about.built_in = int(data.Value.VariantType.value)
    if isinstance(value, list):
        about.length = len(value)
        about.value = [kept for kept in map(_kept, value[:ARRAY_VALUES_MAX]) if kept is not None]
    else:
        about.value = _kept(value)


def _kept(value: Any) -> Any:
    """What is worth keeping of a value, as plain JSON: names, numbers, ranges and units."""
    if isinstance(value, ua.LocalizedText):
        value = value.Text
    if isinstance(value, ua.Range):
        return {"low": float(value.Low), "high": float(value.High)}
    if isinstance(value, ua.EUInformation):
        name = value.DisplayName.Text or ""
        return {"namespace": value.NamespaceUri or "", "id": int(value.UnitId), "name": name}
    if isinstance(value, ua.EnumValueType):
        return {"value": int(value.Value), "name": value.DisplayName.Text or ""}
    if isinstance(value, ua.AxisInformation):
        return {"unit": _kept(value.EngineeringUnits), "range": _kept(value.EURange)}
    if isinstance(value, str):
        return value[:TEXT_CHARS_MAX]
    return value if isinstance(value, bool | int | float) else None


async def _resolve_types(requests: Requests, space: AddressSpace) -> None:
    """Find what each type is derived from, and the names of all of them."""
    used = {node.type for node in space.nodes.values() if node.type}
    for node in space.nodes.values():
        if node.attributes is not None and node.attributes.data_type:
            used.add(node.attributes.data_type)
    new = sorted(used - space.types.keys())
    if not new:
        return
    above = await _supertypes(requests, new)
    known = sorted({*new, *above, *above.values()})
    names = await requests.read([(node, ua.AttributeIds.BrowseName, None) for node in known])
    label = dict(zip(known, (_label(requests, name) for name in names), strict=True))
    for type_ in new:
        line: list[str] = []
        following: str | None = type_
        while following is not None and len(line) < ANCESTORS_MAX:
            line.append(label[following])
            following = above.get(following)
        space.types[type_] = line
    await _read_enumerations(requests, space, new)


async def _read_enumerations(requests: Requests, space: AddressSpace, types: Sequence[str]) -> None:
    """Keep the texts of the enumerations among these types (OPC 10000-3, 8.14)."""
    own = [type_ for type_ in types if f"{UA}#Enumeration" in space.types[type_][1:]]
    answers = await requests.references(own, ua.ObjectIds.HasProperty)
    texts = {
        type_: requests.namespaces.text(reference.NodeId)
        for type_, answer in zip(own, answers, strict=True)
        for reference in answer.references
        if reference.BrowseName.Name in ("EnumStrings", "EnumValues")
    }
    values = await requests.read([(node, ua.AttributeIds.Value, None) for node in texts.values()])
    for type_, value in zip(texts, values, strict=True):
        about = Attributes()
        _take_value(about, value)
        if isinstance(about.value, list):
            space.enumerations[type_] = about.value


async def _supertypes(requests: Requests, types: Sequence[str]) -> dict[str, str]:
    """What each type, and each of those above it, is derived from directly."""
    above: dict[str, str] = {}
    asked: set[str] = set()
    while waiting := sorted({*types, *above.values()} - asked):
        asked.update(waiting)
        answers = await requests.references(waiting, ua.ObjectIds.HasSubtype, inverse=True)
        for type_, answer in zip(waiting, answers, strict=True):
            if answer.references and answer.problem != UNDECODABLE:
                above[type_] = requests.namespaces.text(answer.references[0].NodeId)
    return above


def _label(requests: Requests, name: ua.DataValue | None) -> str:
    value = _plain(name)
    if not isinstance(value, ua.QualifiedName):
        return ""
    return f"{requests.namespaces.uri(value.NamespaceIndex)}#{value.Name}"
