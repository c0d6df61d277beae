"""What has been seen of a server's address space, and the file that keeps it between two runs.

Enters: nodes as the walk finds them, and their attributes. Leaves: the same, by NodeId. Fails:
ConfigError where the file cannot be read, or is of another walk.

NodeIds are texts with the URI of their namespace, so a file still fits after the server was
restarted with other namespace numbers. A node that is not `browsed`, or a variable without
`attributes`, is what a later run goes on with; the file is replaced as a whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from agent.errors import ConfigError

VERSION: Final = 1
UA: Final = "http://opcfoundation.org/UA/"
"""The namespace of OPC UA itself."""
PROPERTY_TYPE: Final = "i=68"
"""PropertyType (OPC 10000-5, 7.3)."""


@dataclass(slots=True)
class Attributes:
    """What was read of a variable.

    data_type : NodeId of its DataType, "" where the server does not say
    built_in : number of the built-in type of its value (OPC 10000-6, table 1), 0 without value
    rank : ValueRank (OPC 10000-3, 5.6.2): -1 scalar, 1 one dimension, below -1 either
    length : values in its array, as far as they were read; 0 of a scalar
    access : AccessLevel, as far as this user has it; bit 0 readable, bit 1 writable
    sampling_ms : its MinimumSamplingInterval, None where the server does not say
    value : its value where that is plain JSON, or what is kept of a structure
    """

    data_type: str = ""
    built_in: int = 0
    rank: int = -1
    length: int = 0
    access: int = 0
    historizing: bool = False
    description: str = ""
    sampling_ms: float | None = None
    value: Any = None


@dataclass(slots=True)
class Node:
    """One object or variable.

    name, name_uri : its BrowseName and the URI of that name's namespace
    type : NodeId of its type definition
    depth : references between it and the start of the walk
    children : NodeIds of the nodes below it, in the server's order
    """

    id: str
    name: str
    name_uri: str
    is_variable: bool
    type: str
    depth: int
    children: list[str] = field(default_factory=list)
    browsed: bool = False
    attributes: Attributes | None = None

    @property
    def is_property(self) -> bool:
        """Whether it describes another node rather than the machine."""
        return self.type == PROPERTY_TYPE


@dataclass(frozen=True, slots=True)
class Counts:
    """How many nodes there are, browsed or to be browsed, and variables, read or to be read."""

    nodes: int
    browsed: int
    pending: int
    variables: int
    read: int

    @property
    def not_browsed(self) -> int:
        """Nodes of which is not known what is below them."""
        return self.nodes - self.browsed


@dataclass
class AddressSpace:
    """Everything seen of one server below `start`.

    nodes : by NodeId, in the order in which they were found
    types : of each type, itself and those it is derived from, as `URI#name`, nearest first
    enumerations : of each data type that has some, the texts of its values
    failed : nodes that could not be browsed, by the name of the StatusCode
    """

    endpoint: str
    start: str
    namespaces: tuple[str, ...] = ()
    nodes: dict[str, Node] = field(default_factory=dict)
    types: dict[str, list[str]] = field(default_factory=dict)
    enumerations: dict[str, list[Any]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    def counts(self, depth_max: int) -> Counts:
        """How far the walk has come."""
        nodes = self.nodes.values()
        return Counts(
            len(nodes),
            sum(node.browsed for node in nodes),
            sum(not node.browsed and node.depth < depth_max for node in nodes),
            sum(node.is_variable for node in nodes),
            sum(node.attributes is not None for node in nodes),
        )

    def pending(self, depth_max: int) -> list[str]:
        """Nodes that are still to be browsed."""
        return [n.id for n in self.nodes.values() if not n.browsed and n.depth < depth_max]

    def unread(self) -> list[str]:
        """Variables whose attributes are still to be read."""
        return [n.id for n in self.nodes.values() if n.is_variable and n.attributes is None]

    def children(self, node: Node) -> Iterator[Node]:
        """The nodes below one."""
        return (self.nodes[child] for child in node.children if child in self.nodes)

    def child(self, node: Node, name: str) -> Node | None:
        """The first node of that name below one."""
        return next((child for child in self.children(node) if child.name == name), None)

    @cached_property
    def parents(self) -> dict[str, str]:
        """The node below which each was found first; to be asked for once the walk is over."""
        parents: dict[str, str] = {}
        for node in self.nodes.values():
            for child in node.children:
                if child != self.start:
                    parents.setdefault(child, node.id)
        return parents

    def lineage(self, node: Node) -> list[Node]:
        """The nodes from below the start down to this one."""
        line = [node]
        while (above := self.parents.get(line[-1].id, self.start)) != self.start:
            line.append(self.nodes[above])
        return line[::-1]

    def is_of(self, node: Node, uri: str, *names: str) -> bool:
        """Whether its type is, or is derived from, one of these."""
        types = self.types.get(node.type, ())
        return any(f"{uri}#{name}" in types for name in names)


def save(space: AddressSpace, path: Path) -> None:
    """Write everything to a file. Raises ConfigError where that is not possible."""
    document = {
        "version": VERSION,
        "endpoint": space.endpoint,
        "start": space.start,
        "namespaces": space.namespaces,
        "types": space.types,
        "enumerations": space.enumerations,
        "failed": space.failed,
        "nodes": [asdict(node) for node in space.nodes.values()],
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", "give another file with --resume"
        ) from error


def load(path: Path, endpoint: str, start: str) -> AddressSpace:
    """What a former walk from the same start has kept; an empty space where there is no file."""
    if not path.exists():
        return AddressSpace(endpoint, start)
    hint = "give another file with --resume, or remove this one to begin again"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        space = _space(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not what a walk has kept: {error}", hint) from error
    if (space.endpoint, space.start) != (endpoint, start):
        raise ConfigError(f"{path} is of a walk of {space.endpoint} from {space.start}", hint)
    return space


def _space(document: dict[str, Any]) -> AddressSpace:
    if document["version"] != VERSION:
        raise ValueError("it is of another version")
    space = AddressSpace(
        document["endpoint"],
        document["start"],
        tuple(document["namespaces"]),
        types=document["types"],
        enumerations=document["enumerations"],
        failed=Counter(document["failed"]),
    )
    for values in document["nodes"]:
        attributes = values.pop("attributes")
        node = Node(**values, attributes=Attributes(**attributes) if attributes else None)
        space.nodes[node.id] = node
    return space
