"""Sparkplug payloads to bytes: protobuf's wire format, of the messages in Sparkplug 3.0 (6.4.1).

Enters: a `Payload`. Leaves: its bytes. Fails: ValueError or TypeError for a value that its data
type cannot hold. Integers are written as two's complement of the field's width, the signed ones as
well: Sparkplug knows no zig-zag.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

from agent.sparkplug.datatypes import ARRAY_ITEMS, INTEGERS, LONG, TEXTS, DataType
from agent.sparkplug.payload import (
    DataSet,
    Metric,
    Parameter,
    Payload,
    Property,
    PropertySet,
    Template,
)

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")

_METRIC_VALUE: Final = 10
_PROPERTY_VALUE: Final = 3
_CELL_VALUE: Final = 1
"""Where a message's value fields begin: 32-bit, 64-bit, float, double, boolean, string follow."""


def encode(payload: Payload, *, datatypes: bool = True) -> bytes:
    """The bytes of a message.

    datatypes : whether metrics say their data type: births must, data should not (6.4.6)
    """
    out = bytearray()
    if payload.timestamp_ms is not None:
        _unsigned(out, 1, payload.timestamp_ms)
    for metric in payload.metrics:
        _block(out, 2, _metric(metric, datatypes))
    if payload.seq is not None:
        _unsigned(out, 3, payload.seq)
    return bytes(out)


def _metric(metric: Metric, datatypes: bool) -> bytearray:
    out = bytearray()
    if metric.name is not None:
        _text(out, 1, metric.name)
    if metric.alias is not None:
        _unsigned(out, 2, metric.alias)
    if metric.timestamp_ms is not None:
        _unsigned(out, 3, metric.timestamp_ms)
    if datatypes:
        _unsigned(out, 4, metric.datatype)
    for number, flag in ((5, metric.is_historical), (6, metric.is_transient)):
        if flag:
            _unsigned(out, number, 1)
    if metric.value is None:
        _unsigned(out, 7, 1)
    if metric.properties:
        _block(out, 9, _property_set(metric.properties))
    if metric.value is not None:
        _metric_value(out, metric.datatype, metric.value)
    return out


def _metric_value(out: bytearray, datatype: DataType, value: Any) -> None:
    if datatype == DataType.DATA_SET:
        _block(out, 17, _data_set(value))
    elif datatype == DataType.TEMPLATE:
        _block(out, 18, _template(value))
    elif datatype in (DataType.BYTES, DataType.FILE):
        _block(out, 16, _as(bytes, value, datatype))
    elif datatype >= DataType.INT8_ARRAY:
        _block(out, 16, _array(datatype, value))
    else:
        _basic(out, _METRIC_VALUE, datatype, value)


def _basic(out: bytearray, first: int, datatype: DataType, value: Any) -> None:
    """A value of a basic type, in the field its type has in a message whose first is `first`."""
    if datatype in INTEGERS:
        least, most = INTEGERS[datatype]
        if not least <= _as(int, value, datatype) <= most:
            raise ValueError(f"{value} is not a {datatype.name}")
        if datatype in LONG:
            _unsigned(out, first + 1, value & 0xFFFF_FFFF_FFFF_FFFF)
        else:
            _unsigned(out, first, value & 0xFFFF_FFFF)
    elif datatype == DataType.FLOAT:
        _tag(out, first + 2, _FIXED32)
        out += _FLOAT.pack(value)
    elif datatype == DataType.DOUBLE:
        _tag(out, first + 3, _FIXED64)
        out += _DOUBLE.pack(value)
    elif datatype == DataType.BOOLEAN:
        _unsigned(out, first + 4, bool(value))
    elif datatype in TEXTS:
        _text(out, first + 5, value)
    else:
        raise ValueError(f"a {datatype.name} is not a basic value")


def _array(datatype: DataType, values: Sequence[Any]) -> bytes:
    """An array's bytes (6.4.17): booleans as a count and bits, strings each ended by a zero."""
    if datatype == DataType.BOOLEAN_ARRAY:
        packed = bytearray(-(-len(values) // 8))
        for i, value in enumerate(values):
            packed[i // 8] |= bool(value) << (7 - i % 8)
        return struct.pack("<I", len(values)) + packed
    if datatype == DataType.STRING_ARRAY:
        return b"".join(text.encode() + b"\0" for text in values)
    try:
        return struct.pack(f"<{len(values)}{ARRAY_ITEMS[datatype]}", *values)
    except struct.error as error:
        raise ValueError(f"not a {datatype.name}: {error}") from None


def _property_set(properties: PropertySet) -> bytearray:
    out = bytearray()
    for key in properties:
        _text(out, 1, key)
    for value in properties.values():
        _block(out, 2, _property(value))
    return out


def _property(one: Property) -> bytearray:
    out = bytearray()
    _unsigned(out, 1, one.datatype)
    if one.value is None:
        _unsigned(out, 2, 1)
    elif one.datatype == DataType.PROPERTY_SET:
        _block(out, 9, _property_set(_as(dict, one.value, one.datatype)))
    elif one.datatype == DataType.PROPERTY_SET_LIST:
        _block(out, 10, _blocks(1, map(_property_set, _as(Sequence, one.value, one.datatype))))
    else:
        _basic(out, _PROPERTY_VALUE, one.datatype, one.value)
    return out


def _data_set(table: DataSet) -> bytearray:
    out = bytearray()
    _unsigned(out, 1, len(table.columns))
    for column in table.columns:
        _text(out, 2, column)
    for datatype in table.columns.values():
        _unsigned(out, 3, datatype)
    for row in table.rows:
        cells = zip(table.columns.values(), row, strict=True)
        _block(out, 4, _blocks(1, (_cell(datatype, value) for datatype, value in cells)))
    return out


def _cell(datatype: DataType, value: int | float | bool | str | None) -> bytearray:
    out = bytearray()
    if value is not None:
        _basic(out, _CELL_VALUE, datatype, value)
    return out


def _template(template: Template) -> bytearray:
    out = bytearray()
    if template.version is not None:
        _text(out, 1, template.version)
    for metric in template.metrics:
        _block(out, 2, _metric(metric, True))
    for parameter in template.parameters:
        _block(out, 3, _parameter(parameter))
    if template.reference is not None:
        _text(out, 4, template.reference)
    _unsigned(out, 5, template.is_definition)
    return out


def _parameter(parameter: Parameter) -> bytearray:
    out = bytearray()
    _text(out, 1, parameter.name)
    _unsigned(out, 2, parameter.datatype)
    if parameter.value is not None:
        _basic(out, _PROPERTY_VALUE, parameter.datatype, parameter.value)
    return out


def _as(kind: Any, value: Any, datatype: DataType) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.80} is not a {datatype.name}")
    return value


def _blocks(number: int, blocks: Iterable[bytearray]) -> bytearray:
    out = bytearray()
    for block in blocks:
        _block(out, number, block)
    return out


def _block(out: bytearray, number: int, data: bytes | bytearray) -> None:
    _tag(out, number, _BYTES)
    _varint(out, len(data))
    out += data


def _text(out: bytearray, number: int, text: str) -> None:
    _block(out, number, text.encode())


def _unsigned(out: bytearray, number: int, value: int) -> None:
    _tag(out, number, _VARINT)
    _varint(out, value)


def _tag(out: bytearray, number: int, wire_type: int) -> None:
    _varint(out, number << 3 | wire_type)


def _varint(out: bytearray, value: int) -> None:
    if not 0 <= value < 2**64:
        raise ValueError(f"{value} does not fit into 64 bits")
    out += varint(value)


def varint(value: int) -> bytes:
    """An unsigned number, 7 bits a byte, the least first; MQTT writes lengths so, too."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
