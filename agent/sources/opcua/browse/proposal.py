"""What a server offers, as a configuration would have it.

Enters: an address space, and a map where there is one. Leaves: machines and signals with names,
kinds, units and what is worth a comment, and what was left out, by cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agent.signals import Kind
from agent.sources.opcua.browse import companions
from agent.sources.opcua.browse.address_space import UA, AddressSpace, Attributes, Node
from agent.sources.opcua.browse.kinds import guess
from agent.sources.opcua.browse.maps import MachineMap, MappedSignal, mapped
from agent.sources.opcua.browse.names import legal, plain, unique
from agent.sources.opcua.browse.units import unit_of
from agent.sources.words import words

ENUMERATION_MAX: Final = 32
"""Values of an enumeration that are told; of longer ones the rest is counted."""
_NAMELESS: Final = companions.Machine("", "machine")
"""What a variable belongs to that lies in no folder."""
_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class Offer:
    """One variable as a signal.

    path : the BrowseNames that lead to it, joined with `/`
    reason : how its kind is known
    eu_range, instrument_range : what the server gives as EURange and InstrumentRange
    enumeration : the texts that its values stand for
    rate_hz : of a waveform, where the server says it
    state : its texts are the machine's state
    traits : "writable", "historized", where it is
    """

    machine: str
    name: str
    node: str
    path: str
    kind: Kind
    reason: str
    unit: str = ""
    description: str = ""
    eu_range: tuple[float, float] | None = None
    instrument_range: tuple[float, float] | None = None
    enumeration: tuple[str, ...] = ()
    rate_hz: float | None = None
    state: bool = False
    traits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything found.

    machines : those that the server describes, and those that its top folders were taken for
    left_out : variables that are no signals, by cause
    missing : signals of the map that the server does not have
    """

    specifications: tuple[str, ...]
    machines: tuple[companions.Machine, ...]
    signals: tuple[Offer, ...]
    left_out: Counter[str] = field(default_factory=Counter)
    missing: tuple[str, ...] = ()


def propose(space: AddressSpace, known: MachineMap | None = None) -> Proposal:
    """Make signals of the variables; with a map, of those that it names."""
    left_out: Counter[str] = Counter()
    missing: tuple[str, ...] = ()
    if known is None:
        variables = (node for node in space.nodes.values() if node.is_variable and node.depth)
        offers = [offer for node in variables if (offer := _offer(space, node, left_out))]
    else:
        named = list(mapped(space, known))
        found = {said.name for _, said, _ in named}
        missing = tuple(said.name for said in known.signals if said.name not in found)
        offers = [_mapped(space, node, said, name) for node, said, name in named]
    places = _Places(space)
    placed = [replace(offer, machine=places.machine(offer.node).name) for offer in offers]
    return Proposal(
        tuple(companions.specifications(space)),
        tuple(places.used.values()),
        tuple(_named(_one_state(space, placed))),
        left_out,
        missing,
    )


def _offer(space: AddressSpace, node: Node, left_out: Counter[str]) -> Offer | None:
    """A variable as a signal; None, and the cause counted, where it cannot be one."""
    said = companions.KNOWN.get((node.name_uri, node.name))
    if node.is_property and said is None:
        return None
    offer = _read_off(space, node)
    guessed = guess(space, node, offer.unit)
    if guessed.kind is None:
        left_out[guessed.reason] += 1
        return None
    if said is not None:
        return replace(offer, kind=said.kind, reason=said.source, unit=offer.unit or said.unit)
    state = companions.machine_state(space, node)
    return replace(offer, kind=guessed.kind, reason=state or guessed.reason, state=bool(state))


def _mapped(space: AddressSpace, node: Node, said: MappedSignal, name: str) -> Offer:
    """A variable as the map has it; the server's own unit stands before the map's."""
    offer = _read_off(space, node)
    return replace(
        offer,
        name=name,
        kind=said.kind,
        reason=said.source,
        unit=offer.unit or said.unit,
        state=said.state,
        description=said.description or offer.description,
    )


def _read_off(space: AddressSpace, node: Node) -> Offer:
    """What the server itself says of a variable."""
    about = node.attributes
    properties = {child.name: child for child in space.children(node) if child.is_variable}

    def value(name: str) -> Any:
        child = properties.get(name)
        return child.attributes.value if child is not None and child.attributes else None

    return Offer(
        machine="",
        name="",
        node=node.id,
        path="/".join(above.name for above in space.lineage(node)),
        kind="analog",
        reason="",
        unit=unit_of(value("EngineeringUnits")),
        description=_description(node),
        eu_range=_range(value("EURange")),
        instrument_range=_range(value("InstrumentRange")),
        enumeration=_enumeration(
            value("EnumStrings")
            or value("EnumValues")
            or space.enumerations.get(about.data_type if about else "")
        ),
        rate_hz=_rate_hz(space, node, value("XAxisDefinition")),
        traits=_traits(about) if about else (),
    )


def _description(node: Node) -> str:
    """Its Description, unless that says no more than its name."""
    said = node.attributes.description if node.attributes else ""
    return said if words(said) != words(node.name) else ""


def _traits(about: Attributes) -> tuple[str, ...]:
    said = {"writable": bool(about.access & 2), "historized": about.historizing}
    return tuple(trait for trait, is_so in said.items() if is_so)


def _range(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, dict) or not value.keys() >= {"low", "high"}:
        return None
    low, high = float(value["low"]), float(value["high"])
    return (low, high) if low < high else None


def _enumeration(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        return ()
    said = []
    for number, value in enumerate(values):
        if isinstance(value, dict):
            number, value = value.get("value", number), value.get("name", "")
        said.append(f"{number} {value}")
    more = len(said) - ENUMERATION_MAX
    return (*said[:ENUMERATION_MAX], f"and {more} more") if more > 0 else tuple(said)


def _rate_hz(space: AddressSpace, node: Node, axis: Any) -> float | None:
    """How often a waveform was sampled, from an x axis in seconds (OPC 10000-8, 5.3.4)."""
    if not isinstance(axis, dict) or not space.is_of(node, UA, "YArrayItemType"):
        return None
    second = _SECONDS.get(unit_of(axis.get("unit")))
    span, about = _range(axis.get("range")), node.attributes
    if second is None or span is None or about is None or about.length < 2:
        return None
    return (about.length - 1) / ((span[1] - span[0]) * second)


class _Places:
    """Which machine a variable belongs to: one that the server describes, else its top folder."""

    def __init__(self, space: AddressSpace) -> None:
        self.used: dict[str, companions.Machine] = {}
        self._space = space
        self._described = {machine.root: machine for machine in companions.machines(space)}

    def machine(self, node: str) -> companions.Machine:
        line = self._space.lineage(self._space.nodes[node])
        described = (self._described[above.id] for above in line if above.id in self._described)
        top = companions.Machine(line[0].id, line[0].name) if len(line) > 1 else _NAMELESS
        machine = next(described, top)
        return self.used.setdefault(machine.root, replace(machine, name=legal(machine.name)))


def _one_state(space: AddressSpace, offers: Sequence[Offer]) -> list[Offer]:
    """The same signals, with one at most that is the state of each machine.

    That of PackML before others, and the uppermost: components have states too.
    """

    def rank(offer: Offer) -> tuple[bool, int]:
        state = companions.machine_state(space, space.nodes[offer.node])
        return state != companions.PACKML_STATE, offer.path.count("/")

    first: dict[str, str] = {}
    for offer in sorted((offer for offer in offers if offer.state), key=rank):
        first.setdefault(offer.machine, offer.node)
    return [
        replace(offer, state=offer.state and first[offer.machine] == offer.node) for offer in offers
    ]


def _named(offers: Sequence[Offer]) -> list[Offer]:
    """The same signals, by machine, with names that differ on each."""
    result: list[Offer] = []
    for machine in dict.fromkeys(offer.machine for offer in offers):
        own = [offer for offer in offers if offer.machine == machine]
        paths = [[plain(part) for part in offer.path.split("/")] for offer in own]
        for offer, path in zip(own, paths, strict=True):
            path[-1] = offer.name or path[-1]  # a map has its own
        result += [
            replace(offer, name=name) for offer, name in zip(own, unique(paths), strict=True)
        ]
    return result
