"""Payloads by learned layouts: literal bytes, and between them slots for what changes.

Enters: messages, the route of each, and the programs that were learned for it. Leaves: rows of
signal, time, value and status, in the order of payloads; and the messages that no program fits.
A program reads exactly what the general decoder (`agent/sources/mqtt/payloads/`) reads, or does not
fit. Fails never, whatever the bytes.

    program = operations from its first to END; between two runs of NEXT the elements of an array

Cost: 40 ns a payload such as {"v":21.5,"ts":1763859600123}. Memory: 36 B a row.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.numbers import BROKEN, EXACT_MAX, NONE, WHOLE, number
from agent.kernels.mqtt.reading import Bool, Int, byte, compiled, tail, word
from agent.kernels.mqtt.scanning import (
    BRACKETS_MAX,
    IS_BOOLEAN,
    IS_NULL,
    IS_NUMBER,
    IS_TEXT,
    is_utf8,
    kind_at,
    text_behind,
    value_behind,
    word_behind,
)
from agent.kernels.mqtt.times import time_at

END: Final = 0
LITERAL: Final = 1
VALUE: Final = 2
TIME: Final = 3
QUALITY: Final = 4
SKIP: Final = 5
NEXT: Final = 6
NUMBER: Final = 7
TEXT: Final = 8
"""Operations, with what stands in their columns A, B and C:
LITERAL: nothing. VALUE: slot, kinds that it may be, 1 for a signal of text. TIME: what it counts, 1
for the document's. QUALITY: -, 1 for the document's. SKIP: kinds. NEXT: what separates elements as
WORD and SIZE, the operation to go on with behind it. NUMBER, TEXT: slot; the whole payload is the
number, or the text."""

CODE: Final = 0
A: Final = 1
B: Final = 2
C: Final = 3
WORD: Final = 4
SIZE: Final = 5
OPERATION: Final = 6
"""Columns of an operation, int64: what it does behind the literal that stands before it, at most
`LITERAL_MAX` bytes, the lowest first; SIZE is 0 where there is none."""
LITERAL_MAX: Final = 7

MESSAGE: Final = 0
SLOT: Final = 1
TIME_NS: Final = 2
STATUS: Final = 3
TEXT_AT: Final = 4
TEXT_LEN: Final = 5
CELLS: Final = 6
"""Columns of a row, int64; its value stands beside them."""

PROGRAM: Final = 0
SLOTS_AT: Final = 1
LAYOUT: Final = 2
"""Columns of a layout of a route, int32: its program, -1 for none, and its first slot."""

TEXT_BYTES_MAX: Final = 10_000
PAYLOAD_BYTES_MAX: Final = 4 << 20
ROWS_MAX: Final = 100_000
"""What the general decoder refuses: longer texts, longer JSON, more readings of one payload."""

_NONE_YET: Final = -1
_BAD: Final = 0x8000_0000
_UNCERTAIN: Final = 0x4000_0000
_STATUS_END: Final = 1 << 32
_MASKS: Final = np.array([(1 << 8 * size) - 1 for size in range(LITERAL_MAX + 1)], np.uint64)


@compiled
def _value_at(body: Any, p: Int, end: Int, kinds: Int, is_text: Int) -> tuple[Int, float, Int, Int]:
    """Behind the value at `p`, or -1; its number, NaN for null; its text and the length of it."""
    kind = kind_at(body, p, end)
    behind, value = np.int64(-1), 0.0
    text_at, text_len = np.int64(-1), np.int64(0)
    if kind & kinds == 0:
        pass
    elif kind == IS_NUMBER:
        behind, what, whole, value = number(body, p, end)
        too_large = what == WHOLE and (whole > EXACT_MAX or whole < -EXACT_MAX)
        unlike = is_text and (what == BROKEN or (whole == 0 and behind - p > 1))
        if what == NONE or too_large or unlike:
            behind = np.int64(-1)
        text_at, text_len = p, behind - p
    elif kind == IS_TEXT:
        if is_text:
            behind, brackets, escapes = text_behind(body, p, end)
            text_at, text_len = p + 1, behind - p - 2
            if brackets > BRACKETS_MAX or escapes or text_len > TEXT_BYTES_MAX:
                behind = np.int64(-1)
    else:
        behind = word_behind(body, p, end)
        text_at, text_len = p, behind - p
        if kind == IS_NULL:
            value, text_at = np.nan, np.int64(-1)
        elif kind == IS_BOOLEAN:
            value = np.float64(text_len == 4)
    if not is_text or text_at < 0:
        text_at, text_len = np.int64(-1), np.int64(0)
    elif behind >= 0:
        value = 0.0
    return behind, value, text_at, text_len


@compiled
def _is_word(body: Any, p: Int, end: Int, lower: Any) -> Bool:
    """Whether a text begins with this word, in any case."""
    same = end - p >= lower.size
    if same:
        for offset in range(lower.size):
            same &= byte(body, p + offset) | 32 == np.int64(lower[offset])
    return same


_GOOD_WORD: Final = np.frombuffer(b"good", np.uint8)
_UNCERTAIN_WORD: Final = np.frombuffer(b"uncertain", np.uint8)
_BAD_WORD: Final = np.frombuffer(b"bad", np.uint8)


@compiled
def _status_of(quality: float) -> Int:
    """The StatusCode that a number means; -1 where it means none."""
    status = np.int64(-1)
    if 0 <= quality < _STATUS_END and quality == np.floor(quality):
        status = np.int64(quality)
        if status < 1 << 16:
            low = status & 0xFF
            status = np.int64(0 if low >= 0xC0 else _UNCERTAIN if low >= 0x40 else _BAD)
    return status


@compiled
def _quality_at(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    """Behind the value at `p`, or -1; and the StatusCode that it means."""
    kind = kind_at(body, p, end)
    behind, status = np.int64(-1), np.int64(0)
    if kind == IS_TEXT:
        behind, brackets, escapes = text_behind(body, p, end)
        at = p + 1
        while at < behind and byte(body, at) == 32:
            at += 1
        if brackets or escapes:
            behind = np.int64(-1)
        elif _is_word(body, at, behind, _UNCERTAIN_WORD):
            status = np.int64(_UNCERTAIN)
        elif _is_word(body, at, behind, _BAD_WORD):
            status = np.int64(_BAD)
        elif not _is_word(body, at, behind, _GOOD_WORD):
            behind = np.int64(-1)
    elif kind == IS_NUMBER:
        behind, what, _, value = number(body, p, end)
        status = _status_of(value)
        if what == NONE or status < 0:
            behind = np.int64(-1)
    elif kind in (IS_BOOLEAN, IS_NULL):
        behind = word_behind(body, p, end)
        if kind == IS_BOOLEAN and behind - p == 5:
            status = np.int64(_BAD)
    return behind, status


@compiled
def _bare_number(body: Any, p: Int, end: Int) -> tuple[Int, float]:
    """`end` where the payload is a number as in JSON, true or false, else -1; and the number."""
    stop, value = end, 0.0
    while p < stop and (byte(body, p) in (32, 9, 13, 10, 0)):
        p += 1
    while p < stop and (byte(body, stop - 1) in (32, 9, 13, 10, 0)):
        stop -= 1
    behind, what, whole, value = number(body, p, stop)
    if what == NONE or (what == WHOLE and (whole > EXACT_MAX or whole < -EXACT_MAX)):
        behind = np.int64(-1)
    if stop - p >= 4 and byte(body, p) >= 65:
        behind = word_behind(body, p, stop)
        value = np.float64(stop - p == 4)
        if byte(body, p) == 110:
            behind = np.int64(-1)
    return end if behind == stop else np.int64(-1), value


@compiled
def _literal_behind(body: Any, p: Int, end: Int, wanted: Int, size: Int) -> Int:
    """Behind the literal that is wanted at `p`; or -1."""
    taken = word(body, p) if body.size - p >= 8 else tail(body, p, end)
    same = end - p >= size and np.int64(taken & _MASKS[size]) == wanted
    return p + size if same else np.int64(-1)


@compiled
def _settle(first: Int, row: Int, time: Int, status: Int, cells: Any, values: Any) -> None:
    """Give rows from `first` on what is common to them, where it is known; missing is Bad."""
    for at in range(first, row):
        if time != _NONE_YET:
            cells[at, TIME_NS] = time
        if status != _NONE_YET:
            is_missing = np.isnan(values[at]) and status >> 30 < 2
            cells[at, STATUS] = _BAD if is_missing else status


@compiled
def _space(first: Int, row: Int, received_ns: Int, rate_hz: float, cells: Any) -> Bool:
    """Give rows from `first` on times at a rate, the last at theirs or now; whether all can be."""
    if row == first:
        return True
    end_ns = cells[first, TIME_NS] if cells[first, TIME_NS] else received_ns
    for at in range(first, row):
        before_ns = np.int64(np.rint(np.float64(row - 1 - at) * 1e9 / rate_hz))
        cells[at, TIME_NS] = end_ns - before_ns
    return cells[first, TIME_NS] > 0


@compiled
def _whole_at(body: Any, p: Int, end: Int, code: Int) -> tuple[Int, float, Int, Int]:
    """What `_value_at` gives, of a payload that is one number or one text."""
    behind, value, text_at, text_len = np.int64(-1), 0.0, np.int64(-1), np.int64(0)
    if code == NUMBER:
        behind, value = _bare_number(body, p, end)
    elif end - p <= TEXT_BYTES_MAX and is_utf8(body, p, end):
        behind, text_at, text_len = end, p, end - p
    return behind, value, text_at, text_len


@compiled
def _run(
    body: Any, p: Int, end: Int, k: Int, ops: Any, slots_at: Int, row: Int, cells: Any, values: Any
) -> Int:
    """Run the program from operation `k` on over one payload; the row behind it, or -1."""
    first = element = row
    time_of_all, status_of_all = np.int64(_NONE_YET), np.int64(_NONE_YET)
    time, status = np.int64(0), np.int64(0)
    brackets, more = np.int64(0), np.int64(0)
    while p >= 0:
        code, a, b = ops[k, CODE], ops[k, A], ops[k, B]
        behind = p
        if ops[k, SIZE]:
            behind = _literal_behind(body, p, end, ops[k, WORD], ops[k, SIZE])
        if code == NEXT:
            _settle(element, row, time, status, cells, values)
            element, time, status = row, np.int64(0), np.int64(0)
            if behind >= 0:
                k = ops[k, C] - 1
            else:
                behind = p
        p = behind
        if p < 0 or code == END:
            break
        if code == VALUE or code >= NUMBER:
            if code == VALUE:
                p, value, at, size = _value_at(body, p, end, b, ops[k, C])
            else:
                p, value, at, size = _whole_at(body, p, end, code)
            if row == values.size:
                p = np.int64(-1)
            else:
                values[row] = value
                cells[row, SLOT] = slots_at + a
                cells[row, TEXT_AT], cells[row, TEXT_LEN] = at, size
                row += 1
        elif code == TIME:
            p, taken = time_at(body, p, end, a)
            time_of_all, time = (taken, time) if b else (time_of_all, taken)
            if taken == 0:
                p = np.int64(-1)
        elif code == QUALITY:
            p, taken = _quality_at(body, p, end)
            status_of_all, status = (taken, status) if b else (status_of_all, taken)
        elif code == SKIP:
            is_allowed = kind_at(body, p, end) & a
            p, more = value_behind(body, p, end)
            brackets += more
            if not is_allowed or brackets > BRACKETS_MAX:
                p = np.int64(-1)
        k += 1
    if p != end or row - first > ROWS_MAX:
        return np.int64(-1)
    _settle(element, row, time, status, cells, values)
    if time_of_all != _NONE_YET or status_of_all != _NONE_YET:
        _settle(first, row, time_of_all, status_of_all, cells, values)
    return row


@compiled
def decode(
    body: Any, payload_at: Any, payload_len: Any, rows: Any, routes: Any, layouts: Any,
    first: Any, rates_hz: Any, ops: Any, received_ns: Int, cells: Any, values: Any, undone: Any,
) -> tuple[Int, Int]:  # fmt: skip
    """Decode messages; how many rows they became, and how many were not decoded.

    payload_at, payload_len : (n,) int64
    rows : (m,) int64, which messages
    routes : (n,) int32, below 0 or beyond `layouts` where nothing is known
    layouts : (r, l, LAYOUT) int32, of each route, those with a program first
    first, rates_hz : (p,) int64 and float64, of each program its first operation, and the rate of
        values that it spaces, else 0
    ops : (o, OPERATION) int64
    received_ns : the time of the last value of a block without a time
    cells, values : (c, CELLS) int64 and (c,) float64, become the rows; a message that finds no room
        in them is not decoded
    undone : (m,) int64, becomes the messages that were not decoded
    """
    row: Int = np.int64(0)
    left = 0
    for at in range(rows.size):
        message = rows[at]
        route = np.int64(routes[message])
        start, size = payload_at[message], payload_len[message]
        behind: Int = np.int64(-1)
        if 0 <= route < layouts.shape[0] and size <= PAYLOAD_BYTES_MAX:
            for place in range(layouts.shape[1]):
                program = np.int64(layouts[route, place, PROGRAM])
                if program < 0 or behind >= 0:
                    break
                slots_at = np.int64(layouts[route, place, SLOTS_AT])
                k = first[program]
                behind = _run(body, start, start + size, k, ops, slots_at, row, cells, values)
                rate_hz = rates_hz[program]
                is_block = behind >= 0 and rate_hz > 0.0
                if is_block and not _space(row, behind, received_ns, rate_hz, cells):
                    behind = np.int64(-1)
        if behind < 0:
            undone[left] = message
            left += 1
        else:
            for done in range(row, behind):
                cells[done, MESSAGE] = message
            row = behind
    return row, left
