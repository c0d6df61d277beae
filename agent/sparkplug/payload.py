"""What a Sparkplug message carries (Sparkplug 3.0, 6.4), before it is bytes.

A value is what its data type says: int (a DateTime in ms since 1970), float, bool, str, bytes,
a `DataSet`, a `Template`, or a sequence for the array types; None is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.sparkplug.datatypes import DataType


@dataclass(frozen=True, slots=True)
class DataSet:
    """A table of basic values (6.4.12)."""

    columns: Mapping[str, DataType]
    rows: Sequence[Sequence[int | float | bool | str | None]] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a template (6.4.15), of a basic type."""

    name: str
    datatype: DataType
    value: int | float | bool | str | None


@dataclass(frozen=True, slots=True)
class Template:
    """A definition, or an instance of the one that `reference` names (6.4.14)."""

    metrics: Sequence[Metric] = ()
    parameters: Sequence[Parameter] = ()
    reference: str | None = None
    is_definition: bool = False
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a metric (6.4.9); of a property set the datatype is PROPERTY_SET."""

    datatype: DataType
    value: int | float | bool | str | PropertySet | Sequence[PropertySet] | None


PropertySet = Mapping[str, Property]
Value = int | float | bool | str | bytes | DataSet | Template | Sequence[int | float | bool | str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of one metric (6.4.6).

    name : None where the alias alone names it, as in data
    alias : None where there is none
    timestamp_ms : UTC since 1970, None where there is none
    value : None is null
    """

    name: str | None
    datatype: DataType
    value: Value | None
    timestamp_ms: int | None = None
    alias: int | None = None
    is_historical: bool = False
    is_transient: bool = False
    properties: PropertySet = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payload:
    """One message (6.4.5).

    seq : 0 to 255; None in NDEATH, NCMD and DCMD
    """

    timestamp_ms: int | None
    metrics: Sequence[Metric] = ()
    seq: int | None = None
