"""The data types of Sparkplug 3.0 (6.4.16), and which field of a protobuf message holds each."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class DataType(IntEnum):
    """What a metric, a property or a column of a data set holds."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13
    TEXT = 14
    UUID = 15
    DATA_SET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATE_TIME_ARRAY = 34


_D = DataType

INTEGERS: Final = {
    _D.INT8: (-(2**7), 2**7 - 1),
    _D.INT16: (-(2**15), 2**15 - 1),
    _D.INT32: (-(2**31), 2**31 - 1),
    _D.INT64: (-(2**63), 2**63 - 1),
    _D.UINT8: (0, 2**8 - 1),
    _D.UINT16: (0, 2**16 - 1),
    _D.UINT32: (0, 2**32 - 1),
    _D.UINT64: (0, 2**64 - 1),
    _D.DATE_TIME: (0, 2**64 - 1),
}
"""Smallest and largest; a DateTime is ms since 1970."""

LONG: Final = frozenset({_D.INT64, _D.UINT64, _D.DATE_TIME})
"""Integers in the 64-bit field; the others are in the 32-bit one, all as two's complement."""

TEXTS: Final = frozenset({_D.STRING, _D.TEXT, _D.UUID})
NUMBERS: Final = frozenset({*INTEGERS, _D.FLOAT, _D.DOUBLE, _D.BOOLEAN})

ARRAY_ITEMS: Final = {
    _D.INT8_ARRAY: "b",
    _D.INT16_ARRAY: "h",
    _D.INT32_ARRAY: "i",
    _D.INT64_ARRAY: "q",
    _D.UINT8_ARRAY: "B",
    _D.UINT16_ARRAY: "H",
    _D.UINT32_ARRAY: "I",
    _D.UINT64_ARRAY: "Q",
    _D.FLOAT_ARRAY: "f",
    _D.DOUBLE_ARRAY: "d",
    _D.DATE_TIME_ARRAY: "Q",
}
"""How `struct` writes an item of an array, little-endian (6.4.17)."""
