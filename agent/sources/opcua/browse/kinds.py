"""What kind of signal a variable is, and how that is known.

Enters: a variable with its attributes and the types it is derived from. Leaves: a kind and the
reason for it, or the reason why it can be no signal. Data types and type definitions decide where
they can; that a number counts up is nowhere said in OPC UA but by companion specifications, so it
is guessed from the words of its name, and told to be a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.signals import Kind
from agent.sources.opcua.browse.address_space import UA, AddressSpace, Node
from agent.sources.words import counts_up, tells_a_state

WAVEFORM_VALUES_MIN: Final = 16
"""Shorter arrays of numbers are lists, not waveforms."""
GUESSED: Final = "guessed from its name"
BY_TYPE: Final = "by its data type"

_INTEGERS: Final = range(2, 10)
_FLOATS: Final = range(10, 12)
_BOOLEAN: Final = 1
_TEXTS: Final = frozenset({12, 13, 14, 16, 20, 21})
"""String, DateTime, Guid, XmlElement, QualifiedName, LocalizedText (OPC 10000-6, table 1)."""
_BUILT_IN: Final = {
    "Boolean": 1, "SByte": 2, "Byte": 3, "Int16": 4, "UInt16": 5, "Int32": 6, "UInt32": 7,
    "Int64": 8, "UInt64": 9, "Float": 10, "Double": 11, "String": 12, "DateTime": 13, "Guid": 14,
    "ByteString": 15, "XmlElement": 16, "NodeId": 17, "ExpandedNodeId": 18, "StatusCode": 19,
    "QualifiedName": 20, "LocalizedText": 21, "Structure": 22, "DataValue": 23,
    "Enumeration": 6, "UInteger": 9, "Integer": 8, "Number": 11,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Guess:
    """A kind and why. Without a kind, `reason` is why the variable can be no signal."""

    kind: Kind | None
    reason: str

    @property
    def is_guess(self) -> bool:
        """Whether a person should look at it."""
        return self.reason == GUESSED


def built_in(space: AddressSpace, node: Node) -> int:
    """The number of the built-in type of a variable's value; 0 where it is not known."""
    about = node.attributes
    if about is None:
        return 0
    for name in space.types.get(about.data_type, ()):
        if name.startswith(f"{UA}#") and (number := _BUILT_IN.get(name.rpartition("#")[2])):
            # An abstract Number, Integer or UInteger: the value tells which.
            return about.built_in or number if "teger" in name or "#Num" in name else number
    return about.built_in


def guess(space: AddressSpace, node: Node, unit: str) -> Guess:
    """The kind of a variable."""
    about = node.attributes
    if about is None:
        return Guess(None, "no attributes")
    if not about.access & 1:
        return Guess(None, "not readable")
    number = built_in(space, node)
    if about.rank > 1:
        return Guess(None, "array of more than one dimension")
    if about.rank >= 0 or about.length:
        return _array(space, node, number)
    if number == _BOOLEAN or _is_enumeration(space, node):
        return Guess("discrete", BY_TYPE)
    if number in _TEXTS:
        return Guess("text", BY_TYPE)
    if number in _INTEGERS or number in _FLOATS:
        return _number(space, node, number, unit)
    return Guess(None, "no value to tell its type by" if number == 0 else "structure")


def _array(space: AddressSpace, node: Node, number: int) -> Guess:
    is_number = number in _INTEGERS or number in _FLOATS
    if space.is_of(node, UA, "ArrayItemType") and is_number:
        return Guess("waveform", "by its type definition")
    if is_number and node.attributes and node.attributes.length >= WAVEFORM_VALUES_MIN:
        return Guess("waveform", "by its length")
    return Guess(None, "array")


def _is_enumeration(space: AddressSpace, node: Node) -> bool:
    about = node.attributes
    types = space.types.get(about.data_type, ()) if about else ()
    return (
        f"{UA}#Enumeration" in types
        or space.is_of(node, UA, "DiscreteItemType")
        or any(space.child(node, name) for name in ("EnumStrings", "EnumValues"))
    )


def _number(space: AddressSpace, node: Node, number: int, unit: str) -> Guess:
    if counts_up(node.name):
        return Guess("counter", GUESSED)
    if unit or number in _FLOATS or space.is_of(node, UA, "BaseAnalogType"):
        return Guess("analog", BY_TYPE)
    if tells_a_state(node.name):
        return Guess("discrete", GUESSED)
    return Guess("analog", BY_TYPE)
