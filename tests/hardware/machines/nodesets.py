"""Published NodeSets, as node-opcua brings them: which paths there are below a type.

They are XML by OPC 10000-6, annex F. Only what the maps need is read: types, what they are derived
from, and the instance declarations below them.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.peers.npm import NODE_OPCUA, install

XML = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
FILES = (
    "NodeSet2", "Di.NodeSet2", "IA.NodeSet2", "Machinery.NodeSet2", "MachineTool.NodeSet2",
    "PackML.NodeSet2", "CNC.NodeSet",
)  # fmt: skip
HAS_SUBTYPE, HAS_TYPE_DEFINITION = "i=45", "i=40"


@dataclass
class Declared:
    """One node of a NodeSet; ids are `URI|identifier`."""

    name: str
    uri: str
    is_variable: bool
    above: str = ""
    type: str = ""
    children: list[str] = field(default_factory=list)


@cache
def published() -> dict[str, Declared]:
    """Every node of the NodeSets that the maps need."""
    install(NODE_OPCUA)
    folder = NODE_OPCUA / "node_modules/node-opcua-nodesets/nodesets"
    nodes: dict[str, Declared] = {}
    parents: list[tuple[str, str]] = []
    for name in FILES:
        _read(folder / f"Opc.Ua.{name}.xml", nodes, parents)
    for parent, child in parents:
        if parent in nodes:
            nodes[parent].children.append(child)
    return nodes


def namespaces() -> set[str]:
    return {node.uri for node in published().values()}


def has_path(uri: str, type_: str, path: str) -> bool:
    """Whether instances of a type can have a variable there."""
    roots = [i for i, n in published().items() if (n.uri, n.name) == (uri, type_)]
    return any(_reaches(root, path.split("/")) for root in roots)


def _reaches(node: str, path: list[str]) -> bool:
    nodes = published()
    if not path:
        return nodes[node].is_variable
    return any(
        _reaches(child, path[1:])
        for child in _below(node)
        if path[0] == nodes[child].name
        or nodes[child].name.startswith("<")  # a placeholder: any name
        or path[0] == "*"
    )


def _below(node: str) -> list[str]:
    """Declarations below a node, its type, and all that this is derived from."""
    nodes = published()
    found: list[str] = []
    waiting, seen = [node], set[str]()
    while waiting:
        current = waiting.pop()
        if current in nodes and current not in seen:
            seen.add(current)
            found += nodes[current].children
            waiting += [nodes[current].type, nodes[current].above]
    return found


def _read(file: Path, nodes: dict[str, Declared], parents: list[tuple[str, str]]) -> None:
    root = ET.parse(file).getroot()  # noqa: S314 - files of a locked package
    uris = ["http://opcfoundation.org/UA/"]
    uris += [uri.text or "" for uri in root.findall(f"{XML}NamespaceUris/{XML}Uri")]
    aliases = {a.get("Alias"): a.text or "" for a in root.findall(f"{XML}Aliases/{XML}Alias")}

    def full(text: str | None) -> str:
        text = aliases.get(text, text or "").strip()
        index, _, identifier = text.rpartition(";")
        return f"{uris[int(index.removeprefix('ns=') or 0)]}|{identifier}"

    for element in root:
        if (own := element.get("NodeId")) is None:
            continue
        index, _, name = (element.get("BrowseName") or "").partition(":")
        uri, name = (uris[int(index)], name) if name else (uris[0], index)
        node = Declared(name, uri, element.tag == f"{XML}UAVariable")
        nodes.setdefault(full(own), node)
        for reference in element.findall(f"{XML}References/{XML}Reference"):
            kind, target = full(reference.get("ReferenceType")), full(reference.text)
            forward = reference.get("IsForward", "true") == "true"
            if kind.endswith(f"|{HAS_SUBTYPE}") and not forward:
                node.above = target
            elif kind.endswith(f"|{HAS_TYPE_DEFINITION}"):
                node.type = target
            elif "Type" not in element.tag or forward:
                parents.append((full(own), target) if forward else (target, full(own)))
