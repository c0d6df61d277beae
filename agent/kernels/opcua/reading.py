"""Numbers and times out of bytes, and how a fault is said (OPC 10000-6, 5.2.2).

All numbers are little-endian, at any alignment. `u16` to `number` do not check: their caller has
compared `end - p` with the size first. A DateTime counts 100 ns since 1601; what is not from 1970
to 2262 is no time here, as with servers that send 1601 for "unknown". Picoseconds come in tens.

Cost: 0.4 ns a number. Memory: none.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

Int = int | np.int64
"""An int64, with the compiler and without."""

ENDS: Final = 0
LENGTH: Final = 1
COUNT: Final = 2
DEPTH: Final = 3
NODE_ID: Final = 4
ENCODING: Final = 5
ANSWER: Final = 6
LENGTHLESS: Final = 7
FAULTS: Final = (
    "the bytes end in the middle of a value",
    "a length is negative",
    "an array claims more elements than there are bytes",
    "values are nested too deep",
    "a NodeId has an unknown encoding",
    "an ExtensionObject has an unknown encoding",
    "this is another answer than was asked for",
    "an ExtensionObject does not say its length",
)
_FAULT_BITS: Final = 4

TICKS_1970: Final = 116_444_736_000_000_000
_TICKS_2262: Final = TICKS_1970 + (2**63 - 100) // 100 + 1
TICKS_NEVER: Final = 2_650_467_743_990_000_000
"""From 9999-12-31T23:59:59Z on a DateTime means "never" (OPC 10000-6, 5.2.2.5)."""
_PICOSECONDS_MAX: Final = 9_999
EXACT_MAX: Final = 2**53

BOOLEAN: Final = 1
SBYTE: Final = 2
BYTE: Final = 3
INT16: Final = 4
UINT16: Final = 5
INT32: Final = 6
UINT32: Final = 7
INT64: Final = 8
UINT64: Final = 9
FLOAT: Final = 10
DOUBLE: Final = 11
STRING: Final = 12
DATE_TIME: Final = 13
GUID: Final = 14
BYTE_STRING: Final = 15
XML_ELEMENT: Final = 16
NODE: Final = 17
EXPANDED_NODE: Final = 18
STATUS_CODE: Final = 19
QUALIFIED_NAME: Final = 20
LOCALIZED_TEXT: Final = 21
EXTENSION_OBJECT: Final = 22
DATA_VALUE: Final = 23
VARIANT: Final = 24
DIAGNOSTIC_INFO: Final = 25
"""Built-in types (OPC 10000-6, table 1)."""


@numba.njit(cache=True, nogil=True)
def fault(p: Int, what: Int) -> Int:
    """A fault at a position, in place of one."""
    return -1 - ((p << _FAULT_BITS) | what)


def fault_at(said: Int) -> Int:
    """The position of a fault."""
    return (-1 - said) >> _FAULT_BITS


@numba.njit(cache=True, nogil=True)
def fault_kind(said: Int) -> Int:
    """What a fault is, an index into FAULTS."""
    return (-1 - said) & ((1 << _FAULT_BITS) - 1)


@numba.njit(cache=True, nogil=True)
def u16(body: Any, p: Int) -> Int:
    """UInt16 as int64."""
    return np.int64(body[p]) | (np.int64(body[p + 1]) << 8)


@numba.njit(cache=True, nogil=True)
def u32(body: Any, p: Int) -> Int:
    """UInt32 as int64."""
    return u16(body, p) | (u16(body, p + 2) << 16)


@numba.njit(cache=True, nogil=True)
def i32(body: Any, p: Int) -> Int:
    """Int32 as int64."""
    return (u32(body, p) ^ 0x8000_0000) - 0x8000_0000


@numba.njit(cache=True, nogil=True)
def i64(body: Any, p: Int) -> Int:
    """Int64; of 64 other bits, the bits."""
    return u32(body, p) | (u32(body, p + 4) << 32)


@numba.njit(cache=True, nogil=True)
def time_ns(ticks: Int, picoseconds: Int) -> Int:
    """A DateTime with its tens of picoseconds as UTC ns since 1970; 0 where it is none."""
    if ticks <= TICKS_1970 or ticks >= _TICKS_2262:
        return 0
    return (ticks - TICKS_1970) * 100 + min(picoseconds, _PICOSECONDS_MAX) // 100


@numba.njit(cache=True, nogil=True)
def bits(body: Any, p: Int, size: Int) -> Int:
    """1, 2, 4 or 8 bytes as int64, without sign where they are fewer than 8.

    One way out: on several, numba counts references to `body`.
    """
    if size == 8:
        taken = i64(body, p)
    elif size == 4:
        taken = u32(body, p)
    elif size == 2:
        taken = u16(body, p)
    else:
        taken = np.int64(body[p])
    return taken


@numba.njit(cache=True, nogil=True)
def number(taken: Int, type_id: Int) -> float:
    """What `bits` took as a value of a number type.

    A DateTime in s since 1970, NaN where there is none; a StatusCode as its code.
    """
    if type_id == DOUBLE:
        return np.int64(taken).view(np.float64)
    if type_id == FLOAT:
        return np.float64(np.int32((taken ^ 0x8000_0000) - 0x8000_0000).view(np.float32))
    if type_id == INT32:
        return np.float64((taken ^ 0x8000_0000) - 0x8000_0000)
    if type_id == INT16:
        return np.float64((taken ^ 0x8000) - 0x8000)
    if type_id == SBYTE:
        return np.float64((taken ^ 0x80) - 0x80)
    if type_id == UINT64:
        return np.float64(np.int64(taken).view(np.uint64))
    if type_id == BOOLEAN:
        return np.float64(taken != 0)
    if type_id != DATE_TIME:
        return np.float64(taken)
    if taken <= 0 or taken >= TICKS_NEVER:
        return np.nan
    return (taken - TICKS_1970) / 1e7


@numba.njit(cache=True, nogil=True)
def is_inexact(taken: Int, type_id: Int) -> bool | np.bool_:
    """Whether it is an integer beyond 2^53, where float64 has not all of them."""
    if type_id == UINT64:
        return taken > EXACT_MAX or taken < 0
    return type_id == INT64 and (taken > EXACT_MAX or taken < -EXACT_MAX)
