r"""Line protocol back to what it says: for far sides that speak something else.

Enters: lines of `encode.py`. Leaves: measurement, tags, fields and time. Fails: ValueError with a
sentence for a line that breaks a rule of ours. A window line costs about 10 us; its part before the
fields is the same each time, so a caller that keeps what it made of `Line.series` saves a third.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Value = bool | int | float | str

_INT64: Final = 1 << 63

# Loops are unrolled (plain, then escape and plain): alternatives would be several times as slow.
_PLAIN: Final = r"[^\\,= ]*(?:\\.[^\\,= ]*)*"
_SERIES: Final = re.compile(r"[^\\ ]+(?:\\.[^\\ ]*)* ", re.DOTALL)
_MEASUREMENT: Final = re.compile(r"[^\\, ]+(?:\\.[^\\, ]*)*", re.DOTALL)
_TAG: Final = re.compile(rf",({_PLAIN})=({_PLAIN})", re.DOTALL)
_FIELD: Final = re.compile(rf'({_PLAIN})=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^", ]+))([, ])', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([,= ])")
_IN_STRING: Final = re.compile(r'\\(["\\])')


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its series (measurement and tags, as written), its fields, its time in ns UTC."""

    series: str
    fields: dict[str, Value]
    time_ns: int


@dataclass(frozen=True, slots=True)
class Series:
    """What a line is about."""

    measurement: str
    tags: dict[str, str]


def parse(line: bytes) -> Line:
    """A line, with or without its newline. Raises ValueError."""
    try:
        text = line.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if '"' in text or "\\" in text:
        return _escaped(text)
    parts = text.split(" ")
    if len(parts) != 3:
        raise ValueError("it has not the form series, fields, time")
    fields: dict[str, Value] = {}
    for pair in parts[1].split(","):
        name, is_field, value = pair.partition("=")
        if not is_field or not name:
            raise ValueError(f"{pair!r:.80} is not a field")
        fields[name] = _value(value)
    return Line(parts[0], fields, _time(parts[2]))


def parse_series(series: str) -> Series:
    """The measurement and the tags of a line's series. Raises ValueError."""
    if "\\" not in series:
        measurement, *pairs = series.split(",")
        tags = dict([pair.split("=") for pair in pairs if pair.count("=") == 1])
        if not measurement or len(tags) != len(pairs):
            raise ValueError(f"{series!r:.80} is not a measurement with tags, each once")
        return Series(measurement, tags)
    head = _MEASUREMENT.match(series)
    at, tags = head.end() if head else 0, {}
    while at and at < len(series):
        tag = _TAG.match(series, at)
        if tag is None or tag[1] in tags:
            raise ValueError(f"{series!r:.80} is not a measurement with tags, each once")
        tags[_ESCAPED.sub(r"\1", tag[1])] = _ESCAPED.sub(r"\1", tag[2])
        at = tag.end()
    if head is None:
        raise ValueError(f"{series!r:.80} has no measurement")
    return Series(_ESCAPED.sub(r"\1", head[0]), tags)


def _escaped(text: str) -> Line:
    """A line that holds strings or escapes."""
    head = _SERIES.match(text)
    if head is None:
        raise ValueError("it has not the form series, fields, time")
    at, fields = head.end(), {}
    while True:
        field = _FIELD.match(text, at)
        if field is None or not field[1]:
            raise ValueError(f"{text[at : at + 80]!r} is not a field")
        name, string, plain, then = field.groups()
        value = _value(plain) if string is None else _IN_STRING.sub(r"\1", string)
        fields[_ESCAPED.sub(r"\1", name)] = value
        at = field.end()
        if then == " ":
            return Line(head[0][:-1], fields, _time(text[at:]))


def _value(text: str) -> Value:
    try:
        if text[-1:] == "i":
            whole = int(text[:-1])
            if -_INT64 <= whole < _INT64:
                return whole
        elif text in ("true", "false"):
            return text == "true"
        else:
            number = float(text)
            if number - number == 0:  # neither NaN nor infinite
                return number
    except ValueError:
        pass
    raise ValueError(f"{text!r:.80} is not a value")


def _time(text: str) -> int:
    try:
        time_ns = int(text)
    except ValueError:
        raise ValueError(f"{text!r:.80} is not a time in nanoseconds") from None
    if not -_INT64 <= time_ns < _INT64:
        raise ValueError(f"{time_ns} is not a time in nanoseconds of 64 bits")
    return time_ns
