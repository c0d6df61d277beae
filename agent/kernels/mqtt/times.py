"""Times in text as UTC nanoseconds, in the usual forms (`agent/sources/mqtt/payloads/times.py`).

Enters: a position and what the time counts. Leaves: nanoseconds since 1970, above 0 and below 2^63.
Fails: with 0, for what is no time and for what is left to the general decoder.

    s, ms, us, ns : whole numbers exactly, others to the nearest microsecond
    iso : 2026-01-31T06:00:00, also with t or a blank, a fraction of nine digits that count behind
        point or comma, and Z or an offset such as +01:00; without either UTC

Cost: 8 ns a number, 25 ns a text. Memory: none.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.numbers import NONE, WHOLE, number
from agent.kernels.mqtt.reading import Int, byte, compiled

S: Final = 0
MS: Final = 1
US: Final = 2
NS: Final = 3
ISO: Final = 4
AUTO: Final = 5
"""What a time counts."""

_UNIT_NS: Final = np.array([1_000_000_000, 1_000_000, 1_000, 1], np.int64)
_UNIT_US: Final = np.array([1e6, 1e3, 1.0, 1e-3])
_BELOW: Final = np.array([10**11, 10**14, 10**17], np.int64)
"""What a number counts by itself: below these s, ms, us; else ns. Whole ones compare exactly."""
_TIME_NS_MAX: Final = 2**63 - 1
_MICRO_MAX: Final = 9_223_372_036_854_775.0
"""The largest whole number below (2^63 - 1) / 1000, which float64 has."""
_QUOTE: Final = 34
_DAYS_BEFORE: Final = np.array(
    [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365], np.int64
)
_CLOCK_SIZE: Final = 19
_FRACTION_MAX: Final = 9
_YEAR_MIN: Final = 1970
_YEAR_MAX: Final = 2261


@compiled
def _two(body: Any, p: Int) -> Int:
    """Two digits; at least 1,000 where they are none."""
    tens, ones = byte(body, p) ^ 48, byte(body, p + 1) ^ 48
    return tens * 10 + ones if tens <= 9 and ones <= 9 else np.int64(1_000)


@compiled
def _day(year: Int, month: Int, day: Int) -> Int:
    """Days since 1970-01-01; -1 where there is no such day, or not from 1970 to 2261."""
    if not (_YEAR_MIN <= year <= _YEAR_MAX and 1 <= month <= 12):
        return np.int64(-1)
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    size = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (month == 2 and is_leap)
    if not 1 <= day <= size:
        return np.int64(-1)
    years = year - 1
    leaps = years // 4 - years // 100 + years // 400 - 477
    before = _DAYS_BEFORE[month - 1] + (month > 2 and is_leap)
    return (year - _YEAR_MIN) * 365 + leaps + before + day - 1


@compiled
def _offset_s(body: Any, p: Int, end: Int) -> Int:
    """The offset from UTC of which nothing but it is left; beyond a day where it is none."""
    found = np.int64(1_000_000)
    if p == end or (end - p == 1 and byte(body, p) == 90):
        found = np.int64(0)
    elif end - p == 6 and byte(body, p + 3) == 58:
        hours, minutes = _two(body, p + 1), _two(body, p + 4)
        if hours <= 23 and minutes <= 59:
            if byte(body, p) == 43:
                found = hours * 3_600 + minutes * 60
            elif byte(body, p) == 45:
                found = -(hours * 3_600 + minutes * 60)
    return found


@compiled
def iso(body: Any, p: Int, end: Int) -> Int:
    """The time of the text from `p` to `end`; 0 where it is none or not in 1970 to 2261."""
    if end - p < _CLOCK_SIZE:
        return np.int64(0)
    between = byte(body, p + 10)
    if (
        byte(body, p + 4) != 45
        or byte(body, p + 7) != 45
        or (between | 32 != 116 and between != 32)
        or byte(body, p + 13) != 58
        or byte(body, p + 16) != 58
    ):
        return np.int64(0)
    year = _two(body, p) * 100 + _two(body, p + 2)
    day = _day(year, _two(body, p + 5), _two(body, p + 8))
    hour, minute, second = _two(body, p + 11), _two(body, p + 14), _two(body, p + 17)
    if day < 0 or hour > 23 or minute > 59 or second > 59:
        return np.int64(0)
    p += _CLOCK_SIZE
    fraction_ns = np.int64(0)
    if p < end and (byte(body, p) == 46 or byte(body, p) == 44):
        p += 1
        start, unit_ns = p, np.int64(1_000_000_000)
        while p < end and byte(body, p) ^ 48 <= 9:
            if p - start < _FRACTION_MAX:
                unit_ns //= 10
                fraction_ns += (byte(body, p) ^ 48) * unit_ns
            p += 1
        if p == start:
            return np.int64(0)
    offset_s = _offset_s(body, p, end)
    seconds = day * 86_400 + hour * 3_600 + minute * 60 + second - offset_s
    if offset_s >= 86_400 or seconds < 0:
        return np.int64(0)
    return seconds * 1_000_000_000 + fraction_ns


@compiled
def counted(kind: Int, whole: Int, value: float, unit: Int) -> Int:
    """The time that a number says; 0 where it is out of range."""
    if unit == AUTO:
        unit = np.int64(S)
        while unit < NS and not (
            whole < _BELOW[unit] if kind == WHOLE else value < np.float64(_BELOW[unit])
        ):
            unit += 1
    found = np.int64(0)
    if kind == WHOLE:
        if 0 < whole <= _TIME_NS_MAX // _UNIT_NS[unit]:
            found = whole * _UNIT_NS[unit]
    else:
        micro = value / 1e3 if unit == NS else value * _UNIT_US[unit]
        if 0 < micro < _MICRO_MAX:
            found = np.int64(np.rint(micro)) * 1_000
    return found


@compiled
def time_at(body: Any, p: Int, end: Int, unit: Int) -> tuple[Int, Int]:
    """Behind the JSON value at `p`, and the time that it says; 0 where it says none."""
    found = np.int64(0)
    if p < end and byte(body, p) == _QUOTE:
        start = p + 1
        p = start
        while p < end and byte(body, p) != _QUOTE:
            p += 1
        if p < end and unit >= ISO:
            found = iso(body, start, p)
        p += 1
    elif unit != ISO:
        p, kind, whole, value = number(body, p, end)
        if kind != NONE:
            found = counted(kind, whole, value, unit)
    return p, found
