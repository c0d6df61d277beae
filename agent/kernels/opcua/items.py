"""Items to columns: DataValues as they lie in notifications and histories (OPC 10000-6, 5.2.2.17).

Enters: bytes, the spans of items in them, and what each client handle is read as. Leaves: a row an
item in `handle`, `time_ns`, `value`, `status`, and a special for each row whose value is no single
number: texts, blocks of numbers, and what asyncua's decoder must read. Missing, and what cannot be
what its handle is read as, is NaN. Fails with a fault, and reads nothing behind the end, whatever it
is given.

    time = source time + its picoseconds, else the server's, else the publication's

Cost: 10 ns an item, 25 ns where it becomes a text or is stepped over. Memory: 28 B an item in the
columns, 40 B a special.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np

from agent.kernels.opcua.reading import (
    DATE_TIME,
    DIAGNOSTIC_INFO,
    DOUBLE,
    ENDS,
    EXTENSION_OBJECT,
    GUID,
    LENGTHLESS,
    LOCALIZED_TEXT,
    QUALIFIED_NAME,
    STATUS_CODE,
    STRING,
    VARIANT,
    XML_ELEMENT,
    fault,
    fault_kind,
    i32,
    i64,
    is_inexact,
    number,
    time_ns,
    u16,
    u32,
)
from agent.kernels.opcua.skipping import (
    HAS_DIMENSIONS,
    HAS_SERVER_PICOSECONDS,
    HAS_SERVER_TIME,
    HAS_SOURCE_PICOSECONDS,
    HAS_SOURCE_TIME,
    HAS_STATUS,
    HAS_VALUE,
    IS_ARRAY,
    SIZES,
    TYPE_BITS,
    count_at,
    count_in,
    skip_variant,
    tail_size,
)

NUMBER: Final = 0
TEXT: Final = 1
BLOCK: Final = 2
OTHER: Final = 3
STRANGE: Final = 4
"""What a handle is read as: the first three. What a special is: TEXT, BLOCK or OTHER. A handle that
was never given is strange."""

SPECIAL: Final = 5
"""Columns of a special, int64: what, row, built-in type, position, length in bytes or,
of a block, in values."""
SPAN: Final = 3
"""Columns of a span, int64: start and end of an array of items, the time where an item has none."""

SPECIALS: Final = 0
TEXTS: Final = 1
OVERFLOWED: Final = 2
INEXACT: Final = 3
STRANGERS: Final = 4
TIMELESS: Final = 5
DETOUR: Final = 6
COUNTS: Final = 7
"""Places in the counts, (COUNTS,) int64, zeros before."""

_OVERFLOW_MASK: Final = 0x0C80
_OVERFLOW: Final = 0x0480
"""InfoType DataValue with the overflow bit (OPC 10000-4, 7.39)."""

_IS_NUMBER: Final = np.zeros(64, np.bool_)
_IS_NUMBER[1 : DOUBLE + 1] = _IS_NUMBER[[DATE_TIME, STATUS_CODE]] = True
_IS_TEXT: Final = _IS_NUMBER.copy()
_IS_TEXT[[STRING, GUID, XML_ELEMENT, QUALIFIED_NAME, LOCALIZED_TEXT]] = True


class Columns(NamedTuple):
    """What becomes of n items at most.

    handle, time_ns : (n,) int64
    value : (n,) float64; of a text, later, its index
    status : (n,) uint32
    special : (n, SPECIAL) int64
    counts : (COUNTS,) int64
    """

    handle: Any
    time_ns: Any
    value: Any
    status: Any
    special: Any
    counts: Any


@numba.njit(cache=True, nogil=True)
def _special(out: Any, what: int, row: int, type_id: int, at: int, size: int) -> None:
    special = out.special[out.counts[SPECIALS]]
    special[0], special[1], special[2], special[3], special[4] = what, row, type_id, at, size
    out.counts[SPECIALS] += 1


@numba.njit(cache=True, nogil=True)
def _text(body: Any, p: int, type_id: int, row: int, out: Any) -> None:
    """A special of the scalar at `p`, which has been stepped over: its bytes; none of a null."""
    size = SIZES[type_id]
    if size < 0:
        if type_id == QUALIFIED_NAME:
            p += 2
        elif type_id == LOCALIZED_TEXT:
            mask = body[p]
            if not mask & 0x02:
                return
            p += 1
            if mask & 0x01:
                p += 4 + max(i32(body, p), 0)
        size = i32(body, p)
        p += 4
        if size < 0:
            return
    _special(out, TEXT, row, type_id, p, size)
    out.counts[TEXTS] += 1


@numba.njit(cache=True, nogil=True)
def _block(body: Any, p: int, type_id: int, row: int, out: Any) -> None:
    """A special of the Variant at `p`, if it is an array of numbers of one dimension."""
    count = count_in(body, p)
    if count == 0 or type_id == 0 or type_id > DOUBLE:
        return
    if body[p] & HAS_DIMENSIONS and i32(body, p + 5 + count * SIZES[type_id]) > 1:
        return
    _special(out, BLOCK, row, type_id, p + 5, count)


@numba.njit(cache=True, nogil=True)
def _other(body: Any, p: int, end: int, kind: int, row: int, detours: Any, out: Any) -> int:
    """Step over the Variant at `p`, which is no number, or not read as one."""
    behind = skip_variant(body, p, end)
    if behind < 0:
        if fault_kind(behind) == LENGTHLESS:
            while out.counts[DETOUR] < detours.shape[0] and detours[out.counts[DETOUR], 0] < p:
                out.counts[DETOUR] += 1
            if out.counts[DETOUR] == detours.shape[0] or detours[out.counts[DETOUR], 0] != p:
                return behind
            behind = min(detours[out.counts[DETOUR], 1], end)
            if kind != STRANGE:
                _special(out, OTHER, row, VARIANT, p, behind - p)
        return behind
    type_id = np.int64(body[p] & TYPE_BITS)
    is_array = body[p] & IS_ARRAY != 0
    if kind == STRANGE or is_array != (kind == BLOCK):
        return behind
    if type_id >= EXTENSION_OBJECT and type_id != DIAGNOSTIC_INFO:
        _special(out, OTHER, row, type_id, p, behind - p)
    elif kind == BLOCK:
        _block(body, p, type_id, row, out)
    elif kind == TEXT and _IS_TEXT[type_id]:
        _text(body, p + 1, type_id, row, out)
    return behind


@numba.njit(cache=True, nogil=True)
def _value(body: Any, p: int, end: int, kind: int, row: int, detours: Any, out: Any) -> int:
    """Read the Variant at `p`; the position behind it."""
    if end - p < 1:
        return fault(p, ENDS)
    type_id = np.int64(body[p])  # of a scalar, there is nothing else in this byte
    if kind != NUMBER or type_id > TYPE_BITS or not _IS_NUMBER[type_id]:
        return _other(body, p, end, kind, row, detours, out)
    p += 1
    size = SIZES[type_id]
    if end - p < size:
        return fault(p, ENDS)
    out.value[row] = number(body, p, type_id)
    if is_inexact(body, p, type_id):
        out.counts[INEXACT] += 1
    return p + size


@numba.njit(cache=True, nogil=True)
def _tail(body: Any, p: int, mask: int, row: int, base_ns: int, out: Any) -> None:
    """Read status and times, `tail_size` bytes, in the standard's order, which is not the bits'."""
    status = 0
    if mask & HAS_STATUS:
        status = u32(body, p)
        p += 4
    ns = 0
    if mask & HAS_SOURCE_TIME:
        ticks, picoseconds = i64(body, p), 0
        p += 8
        if mask & HAS_SOURCE_PICOSECONDS:
            picoseconds = u16(body, p)
        ns = time_ns(ticks, picoseconds)
    if mask & HAS_SOURCE_PICOSECONDS:
        p += 2
    if ns == 0 and mask & HAS_SERVER_TIME:
        ticks, picoseconds = i64(body, p), 0
        if mask & HAS_SERVER_PICOSECONDS:
            picoseconds = u16(body, p + 8)
        ns = time_ns(ticks, picoseconds)
    out.status[row] = status
    out.time_ns[row] = ns if ns else base_ns


@numba.njit(cache=True, nogil=True)
def _item(
    body: Any, p: int, end: int, kind: int, row: int, base: int, detours: Any, out: Any
) -> int:
    """Read the DataValue at `p` into a row; the position behind it."""
    if end - p < 1:
        return fault(p, ENDS)
    mask = np.int64(body[p])
    p += 1
    out.value[row] = np.nan
    if mask & HAS_VALUE:
        p = _value(body, p, end, kind, row, detours, out)
        if p < 0:
            return p
    size = tail_size(mask)
    if end - p < size:
        return fault(p, ENDS)
    _tail(body, p, mask, row, base, out)
    return p + size


@numba.njit(cache=True, nogil=True)
def read(body: Any, spans: Any, kinds: Any, given: int, detours: Any, out: Columns) -> int:
    """Read all items of all spans; how many rows they became, or a fault.

    spans : (s, SPAN) int64
    kinds : (h,) int8, what each client handle is read as
    given : the handle of all items, in histories, whose items bring none; else -1
    detours : (d, 2) int64, rising, start and end of the Variants that hide where they end
    """
    row = np.int64(0)
    rows_max = out.handle.size
    for span in range(spans.shape[0]):
        p, end, base = spans[span, 0], spans[span, 1], spans[span, 2]
        count = count_at(body, p, end)
        if count < 0:
            return count
        p += 4
        for _ in range(count):
            handle = given
            if given < 0:
                if end - p < 4:
                    return fault(p, ENDS)
                handle = u32(body, p)
                p += 4
            if row == rows_max:
                return fault(p, ENDS)
            kind = kinds[handle] if handle < kinds.size else STRANGE
            specials, texts = out.counts[SPECIALS], out.counts[TEXTS]
            p = _item(body, p, end, kind, row, base, detours, out)
            if p < 0:
                return p
            if kind == STRANGE:
                out.counts[STRANGERS] += 1
            elif out.time_ns[row] == 0:
                out.counts[TIMELESS] += 1
                out.counts[SPECIALS], out.counts[TEXTS] = specials, texts
            else:
                if np.int64(out.status[row]) & _OVERFLOW_MASK == _OVERFLOW:
                    out.counts[OVERFLOWED] += 1
                out.handle[row] = handle
                row += 1
    return row
