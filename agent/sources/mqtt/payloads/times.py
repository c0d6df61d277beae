"""Times that payloads say, as UTC nanoseconds.

Enters: a JSON value or a text, and what it counts. Leaves: nanoseconds since 1970, above 0 and
below 2^63. Fails: Unreadable.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agent.config.mqtt.payload import TimeUnit
from agent.sources.mqtt.payloads.reading import Unreadable, shown, written

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_UNIT_US: Final = {"s": 1e6, "ms": 1e3, "us": 1.0}
_BELOW: Final = (("s", 1e11), ("ms", 1e14), ("us", 1e17))
"""What a number counts by itself, smallest first: 1e11 s are the year 5138, 1e11 ms 1973."""
_TIME_NS_END: Final = 1 << 63
_DATE_CHARS: Final = 8
"""Shortest date of ISO 8601 with a time behind it, `20260131`."""
_BEYOND_US: Final = re.compile(r"[.,][0-9]{6}([0-9]{1,3})")


def time_of(value: Any, unit: TimeUnit) -> int:
    """The time that a JSON value says.

    s, ms, us, ns : numbers. Whole ones (JSON numbers without point and exponent) count exactly;
        others to the nearest microsecond, since a float64 of seconds holds no more: the value
        times 1e6, 1e3, 1, or for ns divided by 1e3, rounded half to even, times 1,000
    iso : text as `datetime.fromisoformat` of Python 3.11 takes it (RFC 3339 and most of ISO 8601),
        without zone in UTC; of the fraction nine digits count
    auto : text as iso; numbers below 1e11 as s, below 1e14 as ms, below 1e17 as us, else as ns

    Raises Unreadable, also where the time is out of range.
    """
    if unit == "iso" or (unit == "auto" and isinstance(value, str)):
        time_ns = _iso(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"time {shown(value)} is not a number")
    else:
        time_ns = _counted(value, unit)
    if not 0 < time_ns < _TIME_NS_END:
        raise Unreadable(f"time {shown(value)} is out of range")
    return time_ns


def time_of_cell(text: str, unit: TimeUnit) -> int:
    """The time that a text without quotes says: a number if it can be one, unless iso is meant."""
    if unit == "iso":
        return time_of(text, unit)
    try:
        value: float | str = written(text)
    except Unreadable:
        value = text
    return time_of(value, unit)


def _counted(value: float, unit: TimeUnit) -> int:
    """Nanoseconds; 0 for what is far out of range."""
    by_size = next((name for name, end in _BELOW if value < end), "ns")
    counts = by_size if unit == "auto" else unit
    if isinstance(value, int):
        return value * _UNIT_NS[counts]
    micro = value / 1e3 if counts == "ns" else value * _UNIT_US[counts]
    return round(micro) * 1_000 if 0 < micro < _TIME_NS_END / 1e3 else 0


def _iso(value: Any) -> int:
    if not isinstance(value, str):
        raise Unreadable(f"time {shown(value)} is not text")
    try:
        moment = datetime.fromisoformat(value)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        time_ns = (aware - _EPOCH) // _MICROSECOND * 1_000
    except (ValueError, OverflowError):
        raise Unreadable(
            f"time {shown(value)} is not ISO 8601, such as 2026-01-31T06:00:00Z"
        ) from None
    clock = re.split("[+-]", value[_DATE_CHARS + 2 :])[0]
    if beyond := _BEYOND_US.search(clock):
        time_ns += int(beyond[1].ljust(3, "0"))
    return time_ns
