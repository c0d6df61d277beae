"""Items to columns: DataValues as they lie in notifications and histories (OPC 10000-6, 5.2.2.17).

Enters: bytes, the spans of items in them, and what each client handle is read as. Leaves: a row an
item in `handle`, `time_ns`, `value`, `status`, and a special for each row whose value is no single
number: texts, blocks of numbers, and what asyncua's decoder must read. Missing, and what cannot be
what its handle is read as, is NaN. Fails with a fault; it reads nothing behind the end, whatever it
is given.

    time = source time + its picoseconds, else the server's, else the publication's

Cost: 20 ns a number, 50 ns what becomes a special or is stepped over. Memory: 28 B an item in the
columns, 40 B a special.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.opcua.reading import (
    COUNT,
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
    Int,
    bits,
    fault,
    fault_kind,
    i32,
    i64,
    is_inexact,
    number,
    u16,
    u32,
)
from agent.kernels.opcua.reading import time_ns as time_ns_of
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

_USUAL_MASK: Final = HAS_SOURCE_TIME | HAS_SOURCE_PICOSECONDS
_USUAL: Final = HAS_SOURCE_TIME
_OVERFLOW_MASK: Final = 0x0C80
_OVERFLOW: Final = 0x0480
"""InfoType DataValue with the overflow bit (OPC 10000-4, 7.39)."""

_NUMBERS: Final = (*range(1, DOUBLE + 1), DATE_TIME, STATUS_CODE)
NUMBER_SIZES: Final = np.zeros(256, np.int64)
"""Bytes of a value by its Variant's encoding byte, where that is of a scalar number; else 0."""
NUMBER_SIZES[list(_NUMBERS)] = SIZES[list(_NUMBERS)]
_IS_TEXT: Final = np.zeros(64, np.bool_)
_IS_TEXT[[*_NUMBERS, STRING, GUID, XML_ELEMENT, QUALIFIED_NAME, LOCALIZED_TEXT]] = True


@numba.njit(cache=True, nogil=True)
def _say(
    special: Any,
    counts: Any,
    what: Int,
    row: Int,
    type_id: Int,
    at: Int,
    size: Int,
) -> None:
    said = counts[SPECIALS]
    special[said, 0] = what
    special[said, 1] = row
    special[said, 2] = type_id
    special[said, 3] = at
    special[said, 4] = size
    counts[SPECIALS] = said + 1


@numba.njit(cache=True, nogil=True)
def _text(body: Any, p: Int, type_id: Int, row: Int, special: Any, counts: Any) -> None:
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
    _say(special, counts, TEXT, row, type_id, p, size)
    counts[TEXTS] += 1


@numba.njit(cache=True, nogil=True)
def _block(body: Any, p: Int, type_id: Int, row: Int, special: Any, counts: Any) -> None:
    """A special of the Variant at `p`, if it is an array of numbers of one dimension."""
    count = count_in(body, p)
    if count == 0 or type_id == 0 or type_id > DOUBLE:
        return
    if body[p] & HAS_DIMENSIONS and i32(body, p + 5 + count * SIZES[type_id]) > 1:
        return
    _say(special, counts, BLOCK, row, type_id, p + 5, count)


@numba.njit(cache=True, nogil=True)
def _detour(p: Int, detours: Any, counts: Any) -> Int:
    """Where the Variant at `p` ends, if that is known; else -1. `p` only ever rises."""
    place = counts[DETOUR]
    while place < detours.shape[0] and detours[place, 0] < p:
        place += 1
    counts[DETOUR] = place
    if place == detours.shape[0] or detours[place, 0] != p:
        return np.int64(-1)
    end: Int = detours[place, 1]
    return end


@numba.njit(cache=True, nogil=True)
def _other(
    body: Any,
    p: Int,
    end: Int,
    kind: Int,
    row: Int,
    detours: Any,
    special: Any,
    counts: Any,
) -> Int:
    """Step over the Variant at `p`, which is no number, or not read as one."""
    behind = skip_variant(body, p, end)
    if behind < 0:
        known = _detour(p, detours, counts) if fault_kind(behind) == LENGTHLESS else np.int64(-1)
        if known < p or known > end:
            return behind
        if kind != STRANGE:
            _say(special, counts, OTHER, row, VARIANT, p, known - p)
        return known
    type_id = np.int64(body[p] & TYPE_BITS)
    is_array = body[p] & IS_ARRAY != 0
    if kind == STRANGE or is_array != (kind == BLOCK):
        return behind
    if type_id >= EXTENSION_OBJECT and type_id != DIAGNOSTIC_INFO:
        _say(special, counts, OTHER, row, type_id, p, behind - p)
    elif kind == BLOCK:
        _block(body, p, type_id, row, special, counts)
    elif kind == TEXT and _IS_TEXT[type_id]:
        _text(body, p + 1, type_id, row, special, counts)
    return behind


@numba.njit(cache=True, nogil=True)
def _time_ns(body: Any, p: Int, mask: Int) -> Int:
    """The source time at `p`, else the server time; the order is the standard's, not the bits'."""
    ns: Int = np.int64(0)
    picoseconds: Int = np.int64(0)
    at = p + 8 * (mask >> 2 & 1)
    if mask & HAS_SOURCE_TIME:
        if mask & HAS_SOURCE_PICOSECONDS:
            picoseconds = u16(body, at)
        ns = time_ns_of(i64(body, p), picoseconds)
    if ns == 0 and mask & HAS_SERVER_TIME:
        at += 2 * (mask >> 4 & 1)
        picoseconds = u16(body, at + 8) if mask & HAS_SERVER_PICOSECONDS else np.int64(0)
        ns = time_ns_of(i64(body, at), picoseconds)
    return ns


@numba.njit(cache=True, nogil=True)
def _read_span(
    body: Any, p: Int, end: Int, base_ns: Int, kinds: Any, given: Int, detours: Any, row: Int,
    handle: Any, time_ns: Any, value: Any, status: Any, special: Any, counts: Any,
) -> Int:  # fmt: skip
    """Read one span's items into rows from `row` on; the row behind them, or a fault.

    On its usual way it calls nothing that takes arrays and has several ways out (`bits`).
    """
    count = count_at(body, p, end)
    if count < 0 or count > handle.size - row:
        return fault(p, COUNT)
    p += 4
    handle_size = np.int64(4) if given < 0 else np.int64(0)
    for _ in range(count):
        if end - p < handle_size + 1:
            return fault(p, ENDS)
        item_handle = u32(body, p) if given < 0 else given
        kind = np.int64(kinds[item_handle]) if item_handle < kinds.size else np.int64(STRANGE)
        specials, texts = counts[SPECIALS], counts[TEXTS]
        p += handle_size
        mask = np.int64(body[p])
        p += 1
        read = np.nan
        if mask & HAS_VALUE:
            encoding = np.int64(body[p]) if p < end else np.int64(0)
            size = NUMBER_SIZES[encoding] if kind == NUMBER else np.int64(0)
            if size == 0:
                p = _other(body, p, end, kind, row, detours, special, counts)
                if p < 0:
                    return p
            elif end - p <= size:
                return fault(p, ENDS)
            else:
                taken = bits(body, p + 1, size)
                read = number(taken, encoding)
                counts[INEXACT] += is_inexact(taken, encoding)
                p += 1 + size
        size = tail_size(mask)
        if end - p < size:
            return fault(p, ENDS)
        code = u32(body, p) if mask & HAS_STATUS else np.int64(0)
        times_at = p + 2 * (mask & HAS_STATUS)
        ns = time_ns_of(i64(body, times_at), 0) if mask & _USUAL_MASK == _USUAL else np.int64(0)
        if ns == 0:
            ns = _time_ns(body, times_at, mask)
        p += size
        handle[row], value[row], status[row] = item_handle, read, code
        time_ns[row] = ns if ns else base_ns
        if kind != STRANGE and time_ns[row]:
            counts[OVERFLOWED] += code & _OVERFLOW_MASK == _OVERFLOW
            row += 1
        else:
            counts[STRANGERS if kind == STRANGE else TIMELESS] += 1
            counts[SPECIALS], counts[TEXTS] = specials, texts
    return row


@numba.njit(cache=True, nogil=True)
def read(
    body: Any, spans: Any, kinds: Any, given: Int, detours: Any,
    handle: Any, time_ns: Any, value: Any, status: Any, special: Any, counts: Any,
) -> Int:  # fmt: skip
    """Read all items of all spans; how many rows they became, or a fault.

    spans : (s, SPAN) int64
    kinds : (h,) int8, what each client handle is read as
    given : the handle of all items, in histories, whose items bring none; else -1
    detours : (d, 2) int64, rising, start and end of the Variants that hide where they end
    handle, time_ns, value, status : (n,) int64, int64, float64, uint32, become the rows; n is at
        least the number of items
    special : (n, SPECIAL) int64, becomes the specials, in the order of rows
    counts : (COUNTS,) int64, zeros before
    """
    row: Int = np.int64(0)
    for span in range(spans.shape[0]):
        start, end, base_ns = spans[span, 0], spans[span, 1], spans[span, 2]
        row = _read_span(
            body, start, end, base_ns, kinds, given, detours, row,
            handle, time_ns, value, status, special, counts,
        )  # fmt: skip
        if row < 0:
            return row
    return row
