"""JSON that is stepped over, and text (RFC 8259; UTF-8 after RFC 3629, without surrogates).

Enters: a position. Leaves: the one behind what begins there, each byte of which has been found to
be JSON. Fails: with -1, also for what is left to the general decoder: nested deeper than
`DEPTH_MAX`, numbers of more than 19 digits. Brackets in strings are told, since the general decoder
counts them too when it refuses deep nesting; programs allow `BRACKETS_MAX`.

Cost: 1 ns a byte of text. Memory: none.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.numbers import NONE, number
from agent.kernels.mqtt.reading import Bool, Int, byte, compiled

DEPTH_MAX: Final = 32
BRACKETS_MAX: Final = 32

IS_NUMBER: Final = 1
IS_TEXT: Final = 2
IS_BOOLEAN: Final = 4
IS_NULL: Final = 8
IS_ARRAY: Final = 16
IS_OBJECT: Final = 32
IS_ANY: Final = 63
"""Kinds of JSON values, as bits; the kind shows in the first byte."""

_ESCAPED: Final = np.zeros(256, np.bool_)
_ESCAPED[list(b'"\\/bfnrt')] = True
_HEX: Final = np.zeros(256, np.bool_)
_HEX[list(b"0123456789abcdefABCDEF")] = True
_QUOTE: Final = 34
_BACKSLASH: Final = 92


@compiled
def kind_at(body: Any, p: Int, end: Int) -> Int:
    """Of which kind the value at `p` is, if it is one; 0 at the end."""
    first = byte(body, p) if p < end else np.int64(0)
    kind = np.int64(IS_NUMBER)
    if first == _QUOTE:
        kind = np.int64(IS_TEXT)
    elif first == 123:
        kind = np.int64(IS_OBJECT)
    elif first == 91:
        kind = np.int64(IS_ARRAY)
    elif first == 110:
        kind = np.int64(IS_NULL)
    elif first == 116 or first == 102:
        kind = np.int64(IS_BOOLEAN)
    elif first == 0:
        kind = np.int64(0)
    return kind


@compiled
def word_behind(body: Any, p: Int, end: Int) -> Int:
    """Behind `true`, `false` or `null`; or -1."""
    found = np.int64(-1)
    if end - p >= 4:
        first = byte(body, p)
        rest = byte(body, p + 1) << 16 | byte(body, p + 2) << 8 | byte(body, p + 3)
        if (first == 116 and rest == 0x727565) or (first == 110 and rest == 0x756C6C):
            found = p + 4
        elif first == 102 and rest == 0x616C73 and end - p >= 5 and byte(body, p + 4) == 101:
            found = p + 5
    return found


@compiled
def _sequence_behind(body: Any, p: Int, end: Int) -> Int:
    """Behind the bytes of one character beyond ASCII; or -1."""
    first = byte(body, p)
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    if first < 0xC2 or first > 0xF4 or end - p < size:
        return np.int64(-1)
    second = byte(body, p + 1)
    for at in range(p + 1, p + size):
        if byte(body, at) & 0xC0 != 0x80:
            return np.int64(-1)
    too_long = (first == 0xE0 and second < 0xA0) or (first == 0xF0 and second < 0x90)
    is_none = (first == 0xED and second >= 0xA0) or (first == 0xF4 and second >= 0x90)
    return np.int64(-1) if too_long or is_none else p + size


@compiled
def is_utf8(body: Any, p: Int, end: Int) -> Bool:
    """Whether these bytes are text."""
    while 0 <= p < end:
        p = p + 1 if byte(body, p) < 0x80 else _sequence_behind(body, p, end)
    return p == end


@compiled
def _escape_behind(body: Any, p: Int, end: Int) -> Int:
    """Behind the escape whose backslash is at `p`; or -1."""
    found = np.int64(-1)
    if end - p >= 2:
        if _ESCAPED[body[p + 1]]:
            found = p + 2
        elif byte(body, p + 1) == 117 and end - p >= 6:
            found = p + 6
            for at in range(p + 2, p + 6):
                if not _HEX[body[at]]:
                    found = np.int64(-1)
    return found


@compiled
def text_behind(body: Any, p: Int, end: Int) -> tuple[Int, Int, Int]:
    """Behind the text whose opening quote is at `p`, or -1; the brackets and escapes in it."""
    p += 1
    brackets, escapes = np.int64(0), np.int64(0)
    while 0 <= p < end:
        taken = byte(body, p)
        if taken == _QUOTE:
            break
        if taken < 32:
            p = np.int64(-1)
        elif taken >= 0x80:
            p = _sequence_behind(body, p, end)
        elif taken == _BACKSLASH:
            p = _escape_behind(body, p, end)
            escapes += 1
        else:
            brackets += taken == 123 or taken == 91
            p += 1
    return p + 1 if 0 <= p < end else np.int64(-1), brackets, escapes


@compiled
def skip_blanks(body: Any, p: Int, end: Int) -> Int:
    """Behind blanks."""
    while p < end:
        taken = byte(body, p)
        if taken != 32 and taken != 10 and taken != 13 and taken != 9:
            break
        p += 1
    return p


@compiled
def _key_behind(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    """At the value behind a key, or -1; and the brackets in the key."""
    brackets = np.int64(0)
    if p >= end or byte(body, p) != _QUOTE:
        return np.int64(-1), brackets
    p, brackets, _ = text_behind(body, p, end)
    if p >= 0:
        p = skip_blanks(body, p, end)
        is_colon = p < end and byte(body, p) == 58
        p = skip_blanks(body, p + 1, end) if is_colon else np.int64(-1)
    return p, brackets


@compiled
def _scalar_behind(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    kind = kind_at(body, p, end)
    brackets = np.int64(0)
    if kind == IS_TEXT:
        p, brackets, _ = text_behind(body, p, end)
    elif kind == IS_NUMBER:
        p, what, _, _ = number(body, p, end)
        if what == NONE:
            p = np.int64(-1)
    else:
        p = word_behind(body, p, end)
    return p, brackets


@compiled
def value_behind(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    """Behind the value at `p`, or -1; and the brackets in the strings of it."""
    depth, brackets, more = np.int64(0), np.int64(0), np.int64(0)
    objects = np.int64(0)  # by depth, as bits: whether it is an object
    while True:
        kind = kind_at(body, p, end)
        if kind in (IS_OBJECT, IS_ARRAY):
            depth += 1
            if depth > DEPTH_MAX:
                return np.int64(-1), brackets
            objects = objects << 1 | (kind == IS_OBJECT)
            p = skip_blanks(body, p + 1, end)
            if p < end and byte(body, p) != (125 if kind == IS_OBJECT else 93):
                if kind == IS_OBJECT:
                    p, more = _key_behind(body, p, end)
                    brackets += more
                if p < 0:
                    return p, brackets
                continue
        else:
            p, more = _scalar_behind(body, p, end)
            brackets += more
            if p < 0:
                return p, brackets
        while depth > 0:
            p = skip_blanks(body, p, end)
            taken = byte(body, p) if p < end else np.int64(0)
            p += 1
            if taken == 44:
                break
            if taken != (125 if objects & 1 else 93):
                return np.int64(-1), brackets
            depth -= 1
            objects >>= 1
        if depth == 0:
            return p, brackets
        p = skip_blanks(body, p, end)
        if objects & 1:
            p, more = _key_behind(body, p, end)
            brackets += more
            if p < 0:
                return p, brackets
