"""Steps over values of any built-in type, without taking them (OPC 10000-6, 5.2.2).

Enters: bytes, a position and the end behind which nothing is read. Leaves: the position behind the
value, or a fault. What an array claims is compared with what is left first, so that the cost is
bounded by the bytes. Variants, DataValues and DiagnosticInfos may be nested to `DEPTH_MAX`, as many
levels as the standard asks of every decoder (5.1.8).

Cost: 1 to 5 ns a value. Memory: stack for `DEPTH_MAX` calls.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.opcua.reading import (
    COUNT,
    DATA_VALUE,
    DEPTH,
    DIAGNOSTIC_INFO,
    ENCODING,
    ENDS,
    EXPANDED_NODE,
    EXTENSION_OBJECT,
    LENGTH,
    LENGTHLESS,
    LOCALIZED_TEXT,
    NODE,
    NODE_ID,
    QUALIFIED_NAME,
    VARIANT,
    Int,
    fault,
    i32,
)

DEPTH_MAX: Final = 100

_VARIED: Final = -1
_DIMENSIONS: Final = -1
SIZES: Final = np.full(64, _VARIED, np.int64)
"""Bytes of a value by its type's number; `_VARIED` where they vary. Of 26 to 63, not given yet, a
decoder shall expect ByteStrings (5.2.2.16)."""
SIZES[:12] = (0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
SIZES[[13, 14, 19]] = (8, 16, 4)

SCALAR_SIZES: Final = np.zeros(256, np.int64)
"""The same by a Variant's encoding byte, where that is of such a scalar; else 0."""
SCALAR_SIZES[:64] = np.maximum(SIZES, 0)

TYPE_BITS: Final = 0x3F
IS_ARRAY: Final = 0x80
HAS_DIMENSIONS: Final = 0x40
"""Of a Variant's encoding byte."""

HAS_VALUE: Final = 0x01
HAS_STATUS: Final = 0x02
HAS_SOURCE_TIME: Final = 0x04
HAS_SERVER_TIME: Final = 0x08
HAS_SOURCE_PICOSECONDS: Final = 0x10
HAS_SERVER_PICOSECONDS: Final = 0x20
"""Of a DataValue's encoding byte."""

_NODE_SIZES: Final = np.array([2, 4, 7, 3, 19, 3], np.int64)
"""Bytes of a NodeId by its encoding; the identifier of 3 and 5 follows as String or ByteString."""


@numba.njit(cache=True, nogil=True)
def skip_size(p: Int, end: Int, size: Int) -> Int:
    """Step over `size` bytes."""
    if end - p < size:
        return fault(p, ENDS)
    return p + size


@numba.njit(cache=True, nogil=True)
def count_at(body: Any, p: Int, end: Int) -> Int:
    """The length of a string or array at `p`, 0 for null; or a fault."""
    if end - p < 4:
        return fault(p, ENDS)
    count = i32(body, p)
    if count < -1:
        return fault(p, LENGTH)
    return max(count, 0)


@numba.njit(cache=True, nogil=True)
def skip_string(body: Any, p: Int, end: Int) -> Int:
    """Step over a String, ByteString or XmlElement."""
    length = count_at(body, p, end)
    if length < 0:
        return length
    return skip_size(p + 4, end, length)


@numba.njit(cache=True, nogil=True)
def _skip_dimensions(body: Any, p: Int, end: Int) -> Int:
    """Step over an array of Int32, with its length."""
    count = count_at(body, p, end)
    if count < 0:
        return count
    return p + 4 + 4 * count if 4 * count <= end - p - 4 else fault(p, COUNT)


@numba.njit(cache=True, nogil=True)
def skip_node_id(body: Any, p: Int, end: Int) -> Int:
    """Step over a NodeId or ExpandedNodeId (5.2.2.9, 5.2.2.10)."""
    if end - p < 1:
        return fault(p, ENDS)
    flags = body[p]
    encoding = np.int64(flags & 0x3F)
    if encoding >= 6:
        return fault(p, NODE_ID)
    q = skip_size(p, end, _NODE_SIZES[encoding])
    if q >= 0 and (encoding == 3 or encoding == 5):
        q = skip_string(body, q, end)
    if q >= 0 and flags & 0x80:  # namespace URI
        q = skip_string(body, q, end)
    if q >= 0 and flags & 0x40:  # server index
        q = skip_size(q, end, 4)
    return q


@numba.njit(cache=True, nogil=True)
def skip_extension(body: Any, p: Int, end: Int) -> Int:
    """Step over an ExtensionObject (5.2.2.15); a fault LENGTHLESS where it hides where it ends."""
    q = skip_node_id(body, p, end)
    if q < 0:
        return q
    if end - q < 1:
        return fault(q, ENDS)
    encoding = body[q]
    if encoding == 0:
        return q + 1
    if encoding > 2:
        return fault(q, ENCODING)
    if encoding == 1 and end - q >= 5 and i32(body, q + 1) == -1:
        return fault(q, LENGTHLESS)
    return skip_string(body, q + 1, end)


@numba.njit(cache=True, nogil=True)
def skip_localized(body: Any, p: Int, end: Int) -> Int:
    """Step over a LocalizedText (5.2.2.14)."""
    if end - p < 1:
        return fault(p, ENDS)
    mask = body[p]
    q = p + 1
    if mask & 0x01:  # locale
        q = skip_string(body, q, end)
    if q >= 0 and mask & 0x02:  # text
        q = skip_string(body, q, end)
    return q


@numba.njit(cache=True, nogil=True)
def skip_diagnostic(body: Any, p: Int, end: Int) -> Int:
    """Step over a DiagnosticInfo and those in it (5.2.2.12)."""
    for _ in range(DEPTH_MAX):
        if end - p < 1:
            return fault(p, ENDS)
        mask = np.int64(body[p])
        numbers = (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1) + (mask >> 3 & 1)
        q = skip_size(p + 1, end, 4 * numbers)
        if q >= 0 and mask & 0x10:  # additional info
            q = skip_string(body, q, end)
        if q >= 0 and mask & 0x20:  # inner StatusCode
            q = skip_size(q, end, 4)
        if q < 0 or not mask & 0x40:  # inner DiagnosticInfo
            return q
        p = q
    return fault(p, DEPTH)


@numba.njit(cache=True, nogil=True)
def tail_size(mask: Int) -> Int:
    """Bytes of a DataValue behind its value."""
    status, times, picoseconds = mask >> 1 & 1, (mask >> 2 & 1) + (mask >> 3 & 1), mask >> 4 & 3
    return 4 * status + 8 * times + 2 * ((picoseconds & 1) + (picoseconds >> 1))


@numba.njit(cache=True, nogil=True)
def first_in(body: Any, p: Int, end: Int) -> Int:
    """The position of the first value in the Variant at `p` (5.2.2.16)."""
    if end - p < 1:
        return fault(p, ENDS)
    if not body[p] & IS_ARRAY:
        return p + 1
    count = count_at(body, p + 1, end)
    return p + 5 if count >= 0 else count


@numba.njit(cache=True, nogil=True)
def count_in(body: Any, p: Int) -> Int:
    """How many values the Variant at `p` has, where `first_in` found no fault."""
    if not body[p] & IS_ARRAY:
        return np.int64(1)
    return max(i32(body, p + 1), np.int64(0))


@numba.njit(cache=True, nogil=True)
def _skip_flat(body: Any, p: Int, end: Int, type_id: Int) -> Int:
    """Step over a value that varies in size and holds no Variant."""
    if type_id == EXTENSION_OBJECT:
        return skip_extension(body, p, end)
    if type_id == LOCALIZED_TEXT:
        return skip_localized(body, p, end)
    if type_id == QUALIFIED_NAME:  # namespace index and name
        return skip_string(body, p + 2, end)
    if type_id in (NODE, EXPANDED_NODE):
        return skip_node_id(body, p, end)
    if type_id == DIAGNOSTIC_INFO:
        return skip_diagnostic(body, p, end)
    return skip_string(body, p, end)


@numba.njit(cache=True, nogil=True)
def skip_flats(body: Any, p: Int, end: Int, type_id: Int, count: Int) -> Int:
    """Step over `count` values of a built-in type that holds no Variant."""
    size: Int = SIZES[type_id]
    # A null takes no bytes; still nobody sends more of them than there are bytes.
    least = count if size == _VARIED or (size == 0 and count > 1) else count * size
    if least > end - p:
        return fault(p, COUNT if count > 1 else ENDS)
    if size != _VARIED:
        return p + count * size
    for _ in range(count):
        p = _skip_flat(body, p, end, type_id)
        if p < 0:
            return p
    return p


@numba.njit(cache=True, nogil=True)
def skip_variant(body: Any, p: Int, end: Int) -> Int:
    """Step over a Variant (5.2.2.16), however deep."""
    at = p
    p = first_in(body, at, end)
    if p < 0:
        return p
    type_id = body[at] & TYPE_BITS
    if type_id in (VARIANT, DATA_VALUE):
        return _skip_nested(body, at, end)
    p = skip_flats(body, p, end, type_id, count_in(body, at))
    if p >= 0 and body[at] & HAS_DIMENSIONS:
        p = _skip_dimensions(body, p, end)
    return p


@numba.njit(cache=True, nogil=True)
def _skip_nested(body: Any, p: Int, end: Int) -> Int:
    """Step over a Variant that holds others.

    Compiled recursion cannot be kept on disk, so it keeps a stack of arrays it is in: their type,
    how many of their values are left, and what follows them, `_DIMENSIONS` or so many bytes.
    """
    stack = np.empty((DEPTH_MAX, 3), np.int64)
    stack[0] = (VARIANT, 1, 0)
    depth = 0
    while depth >= 0:
        type_id, left, behind = stack[depth]
        if left == 0:
            p = _skip_dimensions(body, p, end) if behind < 0 else skip_size(p, end, behind)
            depth -= 1
        else:
            stack[depth, 1] -= 1
            depth += 1
            if depth == DEPTH_MAX:
                return fault(p, DEPTH)
            p = _enter(body, p, end, type_id, stack[depth])
        if p < 0:
            return p
    return p


@numba.njit(cache=True, nogil=True)
def _enter(body: Any, p: Int, end: Int, type_id: Int, inner: Any) -> Int:
    """Step into a Variant or DataValue and over its flat values; `inner` becomes what is left."""
    at = p
    if type_id == DATA_VALUE:
        mask = body[at] if at < end else 0
        inner[0], inner[1], inner[2] = VARIANT, mask & HAS_VALUE, tail_size(mask)
        return skip_size(at, end, 1)
    p = first_in(body, at, end)
    if p < 0:
        return p
    held, count = body[at] & TYPE_BITS, count_in(body, at)
    inner[0], inner[1], inner[2] = held, count, 0
    if body[at] & HAS_DIMENSIONS:
        inner[2] = _DIMENSIONS
    if held in (VARIANT, DATA_VALUE):
        return p
    inner[1] = 0
    return skip_flats(body, p, end, held, count)


@numba.njit(cache=True, nogil=True)
def skip_array_of(body: Any, p: Int, end: Int, type_id: Int) -> Int:
    """Step over an array of flat values of a built-in type, with its length."""
    count = count_at(body, p, end)
    return skip_flats(body, p + 4, end, type_id, count) if count >= 0 else count
