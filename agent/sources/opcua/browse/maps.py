"""Maps of common machines: which variables matter on a machine of a kind, and what they are.

Enters: a TOML file such as those of `hardware/machines/`. Leaves: a checked `MachineMap`, and the
variables of an address space that it names. Fails: ConfigError, with what is wrong in the file.

A map names variables by NodeId, or by a path of BrowseNames below each object of a type (or below
the start of the walk); `*` stands for any one name, which then becomes part of the signal's name.
Of several that name the same variable, the first one counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from agent.config.fields import NodeId, SignalName, Table, broken
from agent.errors import ConfigError
from agent.signals import Kind
from agent.sources.opcua.browse.address_space import AddressSpace, Node
from agent.sources.opcua.browse.names import plain


class TypeConfig(Table):
    """A type of objects, by its BrowseName."""

    namespace: str = Field(min_length=1, max_length=2048)
    """The URI of the BrowseName's namespace."""
    name: str = Field(min_length=1, max_length=512)
    """The BrowseName."""


class MappedSignal(Table):
    """One variable that matters."""

    name: SignalName
    """The signal's name; what `*` stood for is put before it."""
    path: str = Field("", max_length=2048)
    """BrowseNames from the object down to the variable, joined with `/`."""
    type: TypeConfig | None = None
    """The path begins at objects of this type, instead of the map's."""
    node: NodeId | None = Field(None, validate_default=True)
    """Its NodeId, where that is the same on every such machine."""
    kind: Kind
    """What kind of signal it is."""
    unit: str = Field("", max_length=32)
    """Its unit, where the server does not say one."""
    state: bool = False
    """Its texts are the machine's state."""
    description: str = Field("", max_length=1000)
    """One sentence for the board."""
    source: str = Field(min_length=1, max_length=500)
    """Where that is written: specification and clause, or the maker's document."""

    @field_validator("node")
    @classmethod
    def _is_one_of_them(cls, node: str | None, info: ValidationInfo) -> str | None:
        if (node is None) == (not info.data.get("path")):
            raise broken("a signal must have one of path and node")
        return node


class MachineMap(Table):
    """One file."""

    machine: str = Field(min_length=1, max_length=500)
    """What kind of machine or controller it is of."""
    sources: tuple[str, ...] = Field(min_length=1)
    """The documents it was made from."""
    tested: str = Field(min_length=1, max_length=1000)
    """What it was tried on, or that it was not."""
    type: TypeConfig | None = None
    """Paths begin at objects of this type or of one derived from it."""
    signals: tuple[MappedSignal, ...] = Field(min_length=1)
    """The variables."""


def load_map(path: Path) -> MachineMap:
    """The map of a file. Raises ConfigError."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        return MachineMap.model_validate(_frozen(tree))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        said = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in said["loc"])
        raise ConfigError(f"{path}: {where}: {said['msg']}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def mapped(space: AddressSpace, known: MachineMap) -> Iterator[tuple[Node, MappedSignal, str]]:
    """Each variable that the map names, what it says of it, and the name of the signal."""
    taken: set[str] = set()
    for signal in known.signals:
        for node, stood_for in _variables(space, known, signal):
            if node.id not in taken:
                taken.add(node.id)
                yield node, signal, ".".join([*map(plain, stood_for), signal.name])


def _variables(
    space: AddressSpace, known: MachineMap, signal: MappedSignal
) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """The variables of one signal, and what each `*` stood for."""
    if signal.node is not None:
        node = space.nodes.get(signal.node)
        if node and node.attributes and node.attributes.data_type:
            yield node, ()
        return
    type_ = signal.type or known.type
    for root in space.nodes.values():
        is_root = space.is_of(root, type_.namespace, type_.name) if type_ else root.depth == 0
        if is_root and not root.is_variable:
            for node, stood_for in _below(space, root, signal.path.split("/")):
                if node.is_variable:
                    yield node, stood_for


def _below(
    space: AddressSpace, node: Node, path: list[str]
) -> Iterator[tuple[Node, tuple[str, ...]]]:
    if not path:
        yield node, ()
        return
    for child in space.children(node):
        if path[0] in ("*", child.name):
            stood_for = (child.name,) if path[0] == "*" else ()
            for found, rest in _below(space, child, path[1:]):
                yield found, (*stood_for, *rest)


def _frozen(value: Any) -> Any:
    """The tree with tuples for lists, as the strict tables want it."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
