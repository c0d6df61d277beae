"""What the fields of payloads are for, by what they are called and what they hold.

Enters: a name and the values seen under it. Leaves: whether they are times, and in which unit,
qualities, units of measurement, names of signals. A name alone decides nothing: `t` may be a
temperature. Nothing fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from agent.config.mqtt.payload import TimeUnit
from agent.sources.mqtt.payloads import Unreadable
from agent.sources.mqtt.payloads.reading import UNIT_CHARS_MAX
from agent.sources.mqtt.payloads.times import time_of

VALUES: Final = (
    "value", "val", "v", "pv", "processvalue", "reading", "measurement", "measured", "y", "data",
    "state",
)  # fmt: skip
"""What values are called, the clearest first; all these are letters and digits in lower case."""
NAMES: Final = (
    "signal", "tag", "tagname", "metric", "name", "variable", "point", "measurand", "parameter",
    "sensor", "channel", "key", "id", "n",
)  # fmt: skip
RATES: Final = frozenset(
    {"rate", "ratehz", "fs", "samplerate", "sampleratehz", "samplingrate", "samplingfrequency"}
)
_TIMES: Final = (
    "timestamp", "ts", "time", "sourcetimestamp", "timestampms", "timestampns", "timestamputc",
    "tsms", "timems", "datetime", "date", "utc", "epoch", "epochms", "t", "at", "when",
    "measuredat", "lastseen", "servertimestamp",
)  # fmt: skip
_QUALITIES: Final = frozenset(
    {"quality", "q", "qualitycode", "statuscode", "good", "isgood", "valid", "isvalid", "validity"}
)
_UNITS: Final = frozenset(
    {"unit", "units", "uom", "u", "engunit", "engunits", "engineeringunit", "engineeringunits"}
)
_YEARS_NS: Final = (946_684_800_000_000_000, 4_102_444_800_000_000_000)
"""2000 to 2100: what is beyond it is no time."""
_QUALITY_WORDS: Final = frozenset({"good", "bad", "uncertain"})
_GOOD_QUALITY: Final = range(192, 256)
_STATUS_CODES: Final = range(1 << 16, 1 << 32)


def plain(name: object) -> str:
    """A name in lower case, letters and digits alone."""
    return re.sub(r"[\W_]", "", str(name)).lower()


def time_rank(name: object) -> int | None:
    """How clearly a name is that of a time, 0 first; None where it is not."""
    bare = plain(name)
    return _TIMES.index(bare) if bare in _TIMES else None


def time_unit(values: Sequence[Any]) -> TimeUnit | None:
    """What these times count; None where they are none, or not all alike."""
    units = {_unit_of(value) for value in values}
    return units.pop() if len(units) == 1 else None


def _unit_of(value: Any) -> TimeUnit | None:
    if isinstance(value, str):
        candidates: tuple[TimeUnit, ...] = ("iso",)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    else:
        candidates = ("s", "ms", "us", "ns")
    for unit in candidates:
        try:
            if _YEARS_NS[0] <= time_of(value, unit) < _YEARS_NS[1]:
                return unit
        except Unreadable:
            continue
    return None


def is_quality(name: object, values: Sequence[Any]) -> bool:
    """Whether they say how good a value is.

    Numbers only where one is a good one: a status that is always 0 may mean no fault, and OPC's 0
    is Bad.
    """
    if plain(name) not in _QUALITIES or not values:
        return False
    if all(isinstance(value, bool) for value in values):
        return True
    if all(isinstance(value, str) for value in values):
        return all(value.lower() in _QUALITY_WORDS for value in values)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return (
        whole
        and all(0 <= value < 256 or value in _STATUS_CODES for value in values)
        and any(value in _GOOD_QUALITY or value in _STATUS_CODES for value in values)
    )


def is_unit(name: object, values: Sequence[Any]) -> bool:
    """Whether they are units of measurement."""
    return plain(name) in _UNITS and all(
        isinstance(value, str) and len(value) <= UNIT_CHARS_MAX for value in values
    )
