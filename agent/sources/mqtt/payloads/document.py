"""JSON payloads: a value, fields, arrays of samples, blocks of values at a rate.

Enters: bytes. Leaves: Readings. Fails: Unreadable where the document as a whole cannot be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from agent.batch import GOOD, Float64
from agent.config.mqtt.payload import JsonConfig, TimeUnit, path_steps
from agent.sources.mqtt.payloads.paths import Absent, Steps, at, first_at
from agent.sources.mqtt.payloads.reading import (
    READINGS_MAX,
    Readings,
    TooMany,
    Unreadable,
    as_number,
    is_inexact,
    reading,
    scalar,
    spaced,
    status_of,
    unit_of,
    waveform,
)
from agent.sources.mqtt.payloads.times import time_of

DOCUMENT_BYTES_MAX: Final = 4 << 20
"""Longest text that is taken apart: Python needs up to thirty times its size meanwhile."""
NESTED_MAX: Final = 100
"""Deeper JSON would run the interpreter out of stack, in whatever it happens to do just then."""
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_OPENS: Final = np.uint8(2)
"""The bit that [ and { have, and ] and } have not."""


def parsed(payload: bytes | bytearray) -> Any:
    """The document, as Python's json reads it: of a key that comes twice, the last counts.

    NaN and infinities are refused. Raises Unreadable, also beyond DOCUMENT_BYTES_MAX and
    NESTED_MAX.
    """
    check_size(payload)
    _refuse_depth(payload)
    try:
        return _JSON.decode(payload.decode(json.detect_encoding(payload), "surrogatepass"))
    except Unreadable:
        raise
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON ({error})") from None
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8 text") from None
    except ValueError:  # Python's limit for digits
        raise Unreadable("a number has too many digits") from None


def check_size(payload: bytes | bytearray) -> None:
    """Raise Unreadable for a text that is too long to be taken apart."""
    if len(payload) > DOCUMENT_BYTES_MAX:
        raise Unreadable(f"it has {len(payload):,} bytes; it may have {DOCUMENT_BYTES_MAX:,}")


@dataclass(frozen=True, slots=True)
class JsonReader:
    """Reads documents of one layout; paths are taken apart, None where there is none.

    fields : name and path of each; None where there is one value, empty for every number
    inside : names that `fields = "*"` leaves out
    """

    value: Steps
    fields: tuple[tuple[str, Steps], ...] | None
    inside: frozenset[str]
    time: Steps | None
    time_unit: TimeUnit
    quality: Steps | None
    unit: Steps | None
    signal: Steps | None
    samples: Steps | None
    rate_hz: float | None
    is_waveform: bool

    @classmethod
    def of(cls, config: JsonConfig, is_waveform: bool) -> JsonReader:
        """The reader of a layout."""
        fields: tuple[tuple[str, Steps], ...] | None = None
        if config.fields is not None:
            names = () if config.fields == "*" else config.fields
            fields = tuple((name, path_steps(name)) for name in names)
        others = (config.time, config.quality, config.unit, config.signal)
        return cls(
            path_steps(config.value or ""),
            fields,
            frozenset(path for path in others if path is not None),
            _steps(config.time),
            config.time_unit,
            _steps(config.quality),
            _steps(config.unit),
            _steps(config.signal),
            _steps(config.samples),
            config.rate_hz,
            is_waveform,
        )

    def __call__(self, payload: bytes | bytearray, received_ns: int) -> Readings:
        """What a payload gives. Raises Unreadable, TooMany."""
        document = parsed(payload)
        found = Readings()
        if self.rate_hz is not None:
            self._consecutive(document, received_ns, self.rate_hz, found)
        elif self.samples is None:
            self._element(document, document, found)
        else:
            self._samples(document, self.samples, found)
        return found

    def _samples(self, document: Any, path: Steps, found: Readings) -> None:
        elements = _array(document, path)
        if len(elements) * len(self.fields or "1") > READINGS_MAX:  # absent ones take time as well
            raise TooMany(f"its {len(elements):,} samples may have {READINGS_MAX:,} fields in all")
        for place, element in enumerate(elements):
            try:
                self._element(element, document, found)
            except Unreadable as error:
                found.miss(f"sample {place + 1}: {error}")

    def _element(self, element: Any, document: Any, found: Readings) -> None:
        time_ns, status, unit, signal = self._about(element, document)
        if self.fields is None:
            value = scalar(at(element, self.value))
            found.take(reading(signal, time_ns, value, status, unit))
            return
        for name, value in self._fields(element):
            try:
                found.take(reading(name, time_ns, scalar(value), status, unit))
            except Unreadable as error:
                found.miss(f"{name}: {error}")

    def _about(self, element: Any, document: Any) -> tuple[int | None, int, str, str | None]:
        """Time, status, unit and signal, each of the element or else of the document."""
        time_ns, signal, unit, quality = None, None, None, None
        if self.time is not None:
            time_ns = time_of(first_at(self.time, element, document), self.time_unit)
        if self.signal is not None:
            signal = _name(first_at(self.signal, element, document))
        if self.quality is not None:
            quality = _if_there(self.quality, element, document)
        if self.unit is not None:
            unit = _if_there(self.unit, element, document)
        return time_ns, GOOD if quality is None else status_of(quality), unit_of(unit), signal

    def _fields(self, element: Any) -> Iterator[tuple[str, Any]]:
        if not self.fields:
            if not isinstance(element, dict):
                raise Unreadable("not an object with fields")
            yield from _numbers(element, "", self.inside)
            return
        is_any = False
        for name, path in self.fields:
            try:
                value = at(element, path)
            except Absent:
                continue
            is_any = True
            yield name, value
        if not is_any:
            raise Unreadable("none of its fields is one of those in the configuration")

    def _consecutive(
        self, document: Any, received_ns: int, rate_hz: float, found: Readings
    ) -> None:
        """Values one after the other, the last of them at the document's time, or now."""
        time_ns, status, unit, signal = self._about(document, document)
        end_ns = received_ns if time_ns is None else time_ns
        values = _array(document, self.value if self.samples is None else self.samples)
        if self.is_waveform:
            if values:
                block = _block(values)
                found.take(waveform(block, rate_hz, end_ns, signal, status, unit))
                found.inexact = sum(map(is_inexact, values))
            return
        for place, moment_ns in enumerate(spaced(end_ns, rate_hz, len(values))):
            try:
                found.take(reading(signal, moment_ns, scalar(values[place]), status, unit))
            except Unreadable as error:
                found.miss(f"sample {place + 1}: {error}")


def _block(values: list[Any]) -> Float64:
    """A waveform's values, null as NaN: all of them are numbers, or none is read."""
    if not set(map(type, values)) <= {int, float, bool, type(None)}:
        for place, value in enumerate(values):
            try:
                as_number(scalar(value))
            except Unreadable as error:
                raise Unreadable(f"value {place + 1}: {error}") from None
    try:
        block = np.array(values, np.float64)
    except OverflowError:
        block = np.array([math.inf])
    if np.isinf(block).any():
        raise Unreadable("a number is too large")
    return block


def _numbers(
    element: dict[str, Any], before: str, without: frozenset[str]
) -> Iterator[tuple[str, Any]]:
    """Numbers and booleans of an object and of the objects in it, in the order of the payload."""
    for key, value in element.items():
        name = f"{before}{key}"
        if isinstance(value, dict):
            yield from _numbers(value, f"{name}.", without)
        elif isinstance(value, bool | int | float) and name not in without:
            yield name, value


def _array(document: Any, path: Steps) -> list[Any]:
    array = at(document, path)
    if not isinstance(array, list):
        raise Unreadable("there is no array where the samples should be")
    return array


def _if_there(path: Steps, element: Any, document: Any) -> Any:
    try:
        return first_at(path, element, document)
    except Absent:
        return None


def _name(said: Any) -> str:
    if isinstance(said, bool) or not isinstance(said, str | int):
        raise Unreadable("the name of its signal is not text")
    return str(said)


def _steps(path: str | None) -> Steps | None:
    return None if path is None else path_steps(path)


def _refuse_depth(payload: bytes | bytearray) -> None:
    """Raise Unreadable for too many nested brackets; those in strings count too."""
    if payload.count(b"[") + payload.count(b"{") <= NESTED_MAX:
        return
    brackets = np.frombuffer(payload.translate(None, _NOT_BRACKETS), np.uint8)
    steps = (brackets & _OPENS).astype(np.int32) - 1
    if np.cumsum(steps, dtype=np.int32).max() > NESTED_MAX:
        raise Unreadable("nested too deep")


def _refuse(constant: str) -> NoReturn:
    raise Unreadable(f"{constant} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse)
