"""What a payload gives: readings, and how a value becomes a number, a text, a status or a block.

Enters: plain JSON values and arrays of numbers. Leaves: `Reading`, `Readings`, numbers and texts.
Fails: Unreadable, with a sentence for a person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from agent.batch import BAD, GOOD, SEVERITY_SHIFT, Float64, root_mean_square
from agent.sources import TEXT_MAX

READINGS_MAX: Final = 100_000
"""Of one payload, read or not; one with more is set aside. A waveform is one reading."""
NUMBER_CHARS_MAX: Final = 1_000
"""Longest number in text."""
EXACT_MAX: Final = 1 << 53
"""Whole numbers beyond it lose their last digits as float64."""
UNIT_CHARS_MAX: Final = 32
UNCERTAIN: Final = 0x4000_0000
_SHOWN_MAX: Final = 80
_BAD_SEVERITY: Final = 2

_BLANKS: Final = " \t\r\n\0"
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"true": True, "false": False}
_SEVERITIES: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}


class Unreadable(ValueError):
    """A payload, or an element of one, that cannot be read; the text says why."""


class Plain(NamedTuple):
    """Text without quotes, such as a CSV cell: a number or a text, by the signal's kind."""

    text: str


Value = float | bool | str | Plain | None
"""A value before its signal's kind is known; None is a missing one."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One value of one signal.

    signal : its name, where the payload says it; None: the topic's
    time_ns : UTC; None: the time of arrival
    value : see `as_number` and `as_text`; of a waveform its root mean square, None if that is NaN
        or infinite
    status : OPC UA StatusCode; Bad where there is no value
    unit : as the payload says it, or empty
    waveform : (m,) float64, m > 0, the values of a waveform; `time_ns` is that of the first
    rate_hz : of a waveform
    """

    signal: str | None
    time_ns: int | None
    value: Value
    status: int = GOOD
    unit: str = ""
    waveform: Float64 | None = None
    rate_hz: float = 0.0


@dataclass(slots=True, eq=False)
class Readings:
    """What was read of one payload.

    taken : in the order of the payload
    unreadable : elements of it (a sample, a field, a line) that could not be read
    reason : why not, of the first of them
    inexact : whole numbers beyond `EXACT_MAX` in waveforms and binary values; those of other
        readings are the caller's to count (`is_inexact`)
    """

    taken: list[Reading] = field(default_factory=list)
    unreadable: int = 0
    reason: str = ""
    inexact: int = 0

    def take(self, one: Reading) -> None:
        """Add a reading. Raises TooMany."""
        self.taken.append(one)
        self._check()

    def miss(self, reason: str) -> None:
        """Count an element that could not be read. Raises TooMany."""
        self.unreadable += 1
        self.reason = self.reason or reason
        self._check()

    def _check(self) -> None:
        if len(self.taken) + self.unreadable > READINGS_MAX:
            raise TooMany(f"it has more than {READINGS_MAX:,} readings")


class TooMany(Exception):
    """A payload of too many readings: no element's fault, so no loop over elements may catch it."""


def as_number(value: Value) -> float:
    """The value as that of a numeric signal: NaN for None, 0 or 1 for booleans.

    A `Plain` is read as `written` says; other text is not a number. Raises Unreadable, also where
    the number is beyond float64.
    """
    if value is None:
        return math.nan
    number = written(value.text) if isinstance(value, Plain) else value
    if isinstance(number, str):
        hint = ' (if it is text, say kind = "text" for it)'
        raise Unreadable(f"{shown(number)} is not a number{hint}")
    try:
        converted = float(number)
    except OverflowError:
        converted = math.inf
    if not math.isfinite(converted):
        raise Unreadable("the number is too large")
    return converted


def is_inexact(value: Value) -> bool:
    """Whether `as_number` loses digits of it: a whole number beyond `EXACT_MAX`."""
    number = written(value.text) if isinstance(value, Plain) else value
    return isinstance(number, int) and abs(number) > EXACT_MAX


def as_text(value: Value) -> str | None:
    """The value as that of a text signal: text as it is, numbers as Python writes them.

    None for None; `true` and `false` for booleans. Raises Unreadable beyond TEXT_MAX characters.
    """
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case Plain():
            text = value.text
        case float() if not math.isfinite(value):
            raise Unreadable("the number is too large")
        case _:
            text = str(value)
    if len(text) > TEXT_MAX:
        raise Unreadable(f"a text has {len(text):,} characters; it may have {TEXT_MAX:,}")
    return text


def written(text: str) -> float | bool:
    """The number that a text says: `-12`, `+007`, `.5`, `1.`, `2.5e-3`, and `true` or `false`.

    Around it may be blanks (space, tab, CR, LF, NUL); the decimal sign is a point; letters of
    exponents and booleans are of any case. Whole numbers without point and exponent are int.
    Words such as NaN, units, grouped digits and digits that are not ASCII are not read, nor is
    more than NUMBER_CHARS_MAX. Raises Unreadable.
    """
    bare = text.strip(_BLANKS)
    if len(bare) > NUMBER_CHARS_MAX:
        raise Unreadable(f"{shown(bare)} is too long for a number")
    match = _NUMBER.fullmatch(bare)
    if match is None:
        if bare.lower() in _BOOLEANS:
            return _BOOLEANS[bare.lower()]
        raise Unreadable(_not_written(bare))
    return float(bare) if any(match.groups()) else int(bare)


def scalar(value: Any) -> Value:
    """A value of a JSON document, if it is one. Raises Unreadable for objects and arrays."""
    if isinstance(value, dict | list):
        what = "an object" if isinstance(value, dict) else "an array"
        raise Unreadable(f"{what} is neither a number nor text")
    return value  # type: ignore[no-any-return]


def status_of(quality: Any) -> int:
    """The StatusCode that a quality means.

    null : Good
    true, false : Good, Bad
    whole numbers, 3 and 3.0 alike : of 2^16 and more a StatusCode; below it, its low byte is an
        OPC quality (OPC DA 3.0, 6.8): from 192 on Good, from 64 on Uncertain, else Bad
    text : Good, Uncertain or Bad as it begins so, in any case, blanks before it aside

    Raises Unreadable for anything else.
    """
    match quality:
        case None:
            return GOOD
        case bool():
            return GOOD if quality else BAD
        case int() | float() if 0 <= quality < 1 << 32 and quality == int(quality):
            code = int(quality)
            if code >= 1 << 16:
                return code
            byte = code & 0xFF
            return GOOD if byte >= 0xC0 else UNCERTAIN if byte >= 0x40 else BAD
        case str():
            for word, status in _SEVERITIES.items():
                if quality.lstrip(_BLANKS)[: len(word)].lower() == word:
                    return status
    raise Unreadable(f"{shown(quality)} is no quality")


def unit_of(said: Any) -> str:
    """A unit as it can be shown; empty where it is not text, too long or cannot be printed."""
    if not isinstance(said, str):
        return ""
    unit = said.strip(_BLANKS)
    return unit if len(unit) <= UNIT_CHARS_MAX and unit.isprintable() else ""


def reading(
    signal: str | None, time_ns: int | None, value: Value, status: int = GOOD, unit: str = ""
) -> Reading:
    """A reading; a missing value is Bad, whatever its quality says."""
    if value is None and status >> SEVERITY_SHIFT < _BAD_SEVERITY:
        status = BAD
    return Reading(signal, time_ns, value, status, unit)


def waveform(
    values: Float64, rate_hz: float, end_ns: int, signal: str | None, status: int, unit: str
) -> Reading:
    """A block whose last value is of `end_ns`; its value is the root mean square, as in OPC UA.

    Raises Unreadable where it would begin before 1970.
    """
    rms = root_mean_square(values)
    start_ns = next(spaced(end_ns, rate_hz, len(values)))
    said = reading(signal, start_ns, rms if math.isfinite(rms) else None, status, unit)
    return replace(said, waveform=values, rate_hz=rate_hz)


def spaced(end_ns: int, rate_hz: float, count: int) -> Iterator[int]:
    """Times of consecutive values, the last at `end_ns`.

    The one that lies k places before the last is at end_ns - rint(k * 1e9 / rate_hz), reckoned in
    float64 from left to right, halves to even. Raises Unreadable where one is before 1970.
    """
    for place in range(count - 1, -1, -1):
        time_ns = end_ns - round(place * 1e9 / rate_hz)
        if time_ns <= 0:
            raise Unreadable("its first value would be of before 1970")
        yield time_ns


def shown(value: object) -> str:
    """A value as a sentence shows it."""
    cut = value[:_SHOWN_MAX] if isinstance(value, str) else value
    return f"{cut!r:.{_SHOWN_MAX}}"


def _not_written(bare: str) -> str:
    if not bare:
        return "it is empty"
    hint = ""
    if _NUMBER.fullmatch(bare.replace(",", ".")):
        hint = " (the decimal sign is a point)"
    return f"{shown(bare)} is not a number{hint}"
