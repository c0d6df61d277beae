"""Payloads and their metrics, each as a row of numbers and places (Sparkplug 3.0, 6.4.5 to 6.4.10).

Enters: the bytes of payloads. Leaves: of each payload its head; of each metric of a birth one row.
Of its properties only `Quality` is read here. Fails: with a fault for the whole payload.

Cost: 15 ns a metric in `heads`, 80 ns in `metric`. Memory: none but the given rows.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.sparkplug.fields import Int, field

FAULT: Final = 0
TIMESTAMP: Final = 1
SEQ: Final = 2
METRICS: Final = 3
BODY: Final = 4
HEAD: Final = 5
"""Columns of a payload's head, int64: a fault or 0; ms since 1970, 0 for none; its sequence number,
-1 for none; how many metrics it has; how many bytes of another kind, for which there is `body`."""

NAME_AT: Final = 0
NAME_SIZE: Final = 1
ALIAS: Final = 2
TIME_MS: Final = 3
DATATYPE: Final = 4
FLAGS: Final = 5
FIELD: Final = 6
BITS: Final = 7
VALUE_AT: Final = 8
PROPERTIES_AT: Final = 9
PROPERTIES_SIZE: Final = 10
QUALITY: Final = 11
METRIC: Final = 12
"""Columns of a metric, int64: its name's place and size, -1 for none; alias; ms since 1970, 0 for
none; data type, 0 for none; flags; the number of the field with its value, 0 for none; that value's
bits or, of bytes, their number, and their place; its properties; `Quality`, -1 for none."""

ALIASED: Final = 1
HISTORICAL: Final = 2
TRANSIENT: Final = 4
NULL: Final = 8
"""Of a metric's flags."""

INT: Final = 10
LONG: Final = 11
FLOAT: Final = 12
DOUBLE: Final = 13
BOOLEAN: Final = 14
STRING: Final = 15
OTHER: Final = 16
"""Numbers of the fields with a value; from OTHER on it is neither number nor text."""

PAYLOAD_TIMESTAMP: Final = 1 << 3
PAYLOAD_METRIC: Final = 2 << 3 | 2
_PAYLOAD_SEQ: Final = 3 << 3
_PAYLOAD_BODY: Final = 5 << 3 | 2
_NAME: Final = 1 << 3 | 2
_ALIAS: Final = 2 << 3
_TIMESTAMP: Final = 3 << 3
_DATATYPE: Final = 4 << 3
_IS_HISTORICAL: Final = 5 << 3
_IS_TRANSIENT: Final = 6 << 3
_IS_NULL: Final = 7 << 3
_PROPERTIES: Final = 9 << 3 | 2
_WIRE_TYPES: Final = np.array([0, 0, 5, 1, 0, 2, 2, 2, 2, 2], np.int64)
"""Of the fields with a value, from INT on."""

KEY: Final = 1 << 3 | 2
PROPERTY: Final = 2 << 3 | 2
_PROPERTY_NULL: Final = 2 << 3
_PROPERTY_INT: Final = 3 << 3
_PROPERTY_LONG: Final = 4 << 3
_PROPERTY_STRING: Final = 8 << 3 | 2
_QUALITY_KEY: Final = np.frombuffer(b"Quality", np.uint8)


@numba.njit(cache=True, nogil=True)
def heads(body: Any, at: Any, size: Any, out: Any) -> None:
    """The heads of payloads; their metrics are counted and stepped over, not read.

    at, size : (k,) int64, where each payload is in `body`
    out : (k, HEAD) int64, becomes the heads
    """
    for k in range(at.size):
        p, end = at[k], at[k] + size[k]
        timestamp, seq, metrics, other = np.int64(0), np.int64(-1), np.int64(0), np.int64(0)
        while 0 <= p < end:
            tag, bits, p = field(body, p, end)
            if tag == PAYLOAD_METRIC:
                metrics += 1
            elif tag == PAYLOAD_TIMESTAMP:
                timestamp = bits
            elif tag == _PAYLOAD_SEQ:
                seq = bits & 0xFF
            elif tag == _PAYLOAD_BODY:
                other = bits
        out[k, FAULT] = min(p, 0)
        out[k, TIMESTAMP] = timestamp
        out[k, SEQ] = seq
        out[k, METRICS] = metrics
        out[k, BODY] = other


@numba.njit(cache=True, nogil=True)
def _quality_in(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    """The number a PropertyValue holds, -1 for none; and a fault or 0."""
    quality, is_null = np.int64(-1), np.int64(0)
    while 0 <= p < end:
        tag, bits, p = field(body, p, end)
        if tag in (_PROPERTY_INT, _PROPERTY_LONG):
            quality = bits & 0xFFFF_FFFF
        elif tag == _PROPERTY_NULL:
            is_null = bits
    return (quality if is_null == 0 else np.int64(-1)), min(p, np.int64(0))


@numba.njit(cache=True, nogil=True)
def _is_quality(body: Any, at: Int, size: Int) -> bool:
    i = 0
    if size == _QUALITY_KEY.size:
        while i < _QUALITY_KEY.size and body[at + i] == _QUALITY_KEY[i]:
            i += 1
    return i == _QUALITY_KEY.size


@numba.njit(cache=True, nogil=True)
def quality(body: Any, at: Int, end: Int) -> tuple[Int, Int]:
    """The property `Quality` of a PropertySet, -1 for none; and a fault or 0.

    Keys and values are two lists that go together by their order; where one is longer they do not.
    """
    keys, values, wanted = np.int64(0), np.int64(0), np.int64(-1)
    p = at
    while 0 <= p < end:
        tag, bits, p = field(body, p, end)
        if tag == KEY and p >= 0:
            if _is_quality(body, p - bits, bits):
                wanted = keys
            keys += 1
        elif tag == PROPERTY:
            values += 1
    found, said = np.int64(-1), min(p, np.int64(0))
    if wanted >= 0 and said == 0 and keys == values:
        p = at
        while 0 <= p < end:
            tag, bits, p = field(body, p, end)
            if tag == PROPERTY:
                if wanted == 0:
                    found, said = _quality_in(body, p - bits, p)
                wanted -= 1
    return found, said


@numba.njit(cache=True, nogil=True)
def metric(body: Any, p: Int, end: Int, row: Any) -> Int:
    """Read the metric from `p` to `end` into `row`, (METRIC,) int64; a fault or 0."""
    name_at, name_size, alias = np.int64(0), np.int64(-1), np.int64(0)
    time_ms, datatype, flags = np.int64(0), np.int64(0), np.int64(0)
    number, value, value_at = np.int64(0), np.int64(0), np.int64(0)
    properties_at, properties_size = np.int64(0), np.int64(0)
    while 0 <= p < end:
        tag, bits, p = field(body, p, end)
        held = tag >> 3
        if INT <= held < INT + _WIRE_TYPES.size:
            if tag & 7 == _WIRE_TYPES[held - INT]:
                number, value = held, bits
                value_at = p - bits if held >= STRING else np.int64(0)
        elif tag == _NAME:
            name_at, name_size = p - bits, bits
        elif tag == _ALIAS:
            alias = bits
            flags |= ALIASED
        elif tag == _TIMESTAMP:
            time_ms = bits
        elif tag == _DATATYPE:
            datatype = bits & 0xFFFF_FFFF
        elif tag == _IS_HISTORICAL:
            flags = flags | HISTORICAL if bits else flags & ~HISTORICAL
        elif tag == _IS_TRANSIENT:
            flags = flags | TRANSIENT if bits else flags & ~TRANSIENT
        elif tag == _IS_NULL:
            flags = flags | NULL if bits else flags & ~NULL
        elif tag == _PROPERTIES:
            properties_at, properties_size = p - bits, bits
    row[NAME_AT], row[NAME_SIZE], row[ALIAS] = name_at, name_size, alias
    row[TIME_MS], row[DATATYPE], row[FLAGS] = time_ms, datatype, flags
    row[FIELD], row[BITS], row[VALUE_AT] = number, value, value_at
    row[PROPERTIES_AT], row[PROPERTIES_SIZE] = properties_at, properties_size
    row[QUALITY] = -1
    said = min(p, np.int64(0))
    if said == 0 and properties_size > 0:
        row[QUALITY], said = quality(body, properties_at, properties_at + properties_size)
    return said


@numba.njit(cache=True, nogil=True)
def metrics(body: Any, at: Int, end: Int, out: Any) -> Int:
    """Read a payload's metrics into the rows of `out`, (n, METRIC) int64; how many, or a fault.

    n is at least what its head says.
    """
    count = np.int64(0)
    said = np.int64(0)
    p = at
    while said == 0 and 0 <= p < end:
        tag, bits, p = field(body, p, end)
        if tag == PAYLOAD_METRIC and p >= 0:
            said = metric(body, p - bits, p, out[count])
            count += 1
    said = min(said, p)
    return said if said < 0 else count


@numba.njit(cache=True, nogil=True)
def properties(body: Any, at: Int, end: Int, out: Any) -> Int:
    """Where the keys and values of a PropertySet are; how many, 0 where they do not go together.

    out : (n, 4) int64, becomes place and size of each key and of its PropertyValue; what is more
        than n is left. `metric` has found no fault in it.
    """
    keys, values = np.int64(0), np.int64(0)
    p = at
    while 0 <= p < end:
        tag, bits, p = field(body, p, end)
        if tag == KEY:
            if keys < out.shape[0]:
                out[keys, 0], out[keys, 1] = p - bits, bits
            keys += 1
        elif tag == PROPERTY:
            if values < out.shape[0]:
                out[values, 2], out[values, 3] = p - bits, bits
            values += 1
    return min(keys, out.shape[0]) if keys == values else np.int64(0)


@numba.njit(cache=True, nogil=True)
def text_in(body: Any, p: Int, end: Int) -> tuple[Int, Int]:
    """Where the text is that a PropertyValue holds, and its size; -1 for none or a fault."""
    at, size = np.int64(0), np.int64(-1)
    while 0 <= p < end:
        tag, bits, p = field(body, p, end)
        if tag == _PROPERTY_STRING and p >= 0:
            at, size = p - bits, bits
    return at, (size if p >= 0 else np.int64(-1))
