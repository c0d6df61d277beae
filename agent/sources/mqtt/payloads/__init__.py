"""Payloads: the general decoder, of every kind that `agent.config` can describe. The reference.

Enters: one message's bytes. Leaves: `Readings`. Fails: `Unreadable`, where a payload as a whole
cannot be read; where only elements of it cannot (samples, fields, lines), those are counted in
`Readings.unreadable` and all others are taken. Kernels give exactly the same, or leave it to this.

    number     one reading, of the number that the text says (`reading.written`)
    text       one reading, the text as it is, in UTF-8
    json       document.py: one reading; or one a field; or those of each element of an array
    csv        lines.py: one reading a cell that is not skipped, line by line, in order of columns
    binary     binary.py: a waveform; of a signal of another kind one reading a value

Values keep their form until the signal's kind is known; then `as_number` and `as_text` convert
them, and may find them unreadable after all. What holds for JSON:

- Numbers are correctly rounded. NaN, Infinity and numbers beyond float64 are refused. Whole
  numbers beyond 2^53 are read, and lose digits (`is_inexact`). true is 1 and false 0. Text is no
  number. As text, numbers are written as Python writes them, and booleans as in JSON.
- null is a missing value, and so is an empty CSV cell: a reading of None, as a number NaN, which is
  Bad (BAD, unless the quality is Bad in another way). An object or an array is no value.
- Times: `times.time_of`. Without a path, and in CSV without the column, the time is that of
  arrival (None). A time that is named but not there, or null, makes the element unreadable.
- Quality: `reading.status_of`. A field that is not there, or null, is Good. A value of bad quality
  is taken with it: the status tells.
- Units: `reading.unit_of`; what is none is empty.
- `signal`: text or a whole number, as text; anything else, or nothing, makes the element
  unreadable.
- Time, quality, unit and signal are looked up in the element first, and where they are not there
  (there and null is there), in the document. The value, or fields, are those of the element.
- `fields`, as a list: in the order of the list; those that are not there are passed over, unless
  none of them is. A field that is null is a missing value. As `*`: in the order of the payload,
  depth first; names are keys joined by dots; null, text and arrays are passed over, and what is
  time, quality or unit.
- With `rate_hz`: elements are consecutive values, spaced backwards from the document's time, or
  else that of arrival (`reading.spaced`). A waveform is read as a whole or not at all; null in it
  is NaN, and then its root mean square is missing.
- Of a key that comes twice in one object, the last counts, in the place of the first.
- An empty array gives no reading, and nothing is unreadable.

Whatever comes takes bounded time and memory: texts to take apart have DOCUMENT_BYTES_MAX, and no
payload gives, or fails to give, more than READINGS_MAX readings; more is unreadable as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.config.mqtt.payload import PayloadConfig
from agent.signals import Kind
from agent.sources.mqtt.payloads.binary import BinaryReader
from agent.sources.mqtt.payloads.document import JsonReader
from agent.sources.mqtt.payloads.lines import CsvReader
from agent.sources.mqtt.payloads.reading import (
    Plain,
    Reading,
    Readings,
    TooMany,
    Unreadable,
    Value,
    as_number,
    as_text,
    is_inexact,
    written,
)

__all__ = [
    "Plain", "Read", "Reading", "Readings", "Unreadable", "Value", "as_number", "as_text",
    "is_inexact", "reader",
]  # fmt: skip

Read = Callable[[bytes | bytearray, int], Readings]
"""(payload, when it arrived in UTC ns) to its readings. Raises Unreadable."""


def reader(payload: PayloadConfig, kind: Kind | None = None) -> Read:
    """What reads payloads that are written so; `kind` is that of the topic."""
    read = _of(payload, kind == "waveform")

    def checked(body: bytes | bytearray, received_ns: int) -> Readings:
        try:
            return read(body, received_ns)
        except TooMany as error:
            raise Unreadable(str(error)) from None

    return checked


def _of(payload: PayloadConfig, is_waveform: bool) -> Read:
    if payload.json_ is not None:
        return JsonReader.of(payload.json_, is_waveform)
    if payload.csv is not None:
        return CsvReader.of(payload.csv)
    if payload.binary is not None:
        return BinaryReader.of(payload.binary, is_waveform)
    return _number if payload.number is not None else _text


def _number(payload: bytes | bytearray, received_ns: int) -> Readings:
    try:
        text = payload.decode("ascii")
    except UnicodeDecodeError:
        raise Unreadable("not a number in text") from None
    return Readings([Reading(None, None, written(text))])


def _text(payload: bytes | bytearray, received_ns: int) -> Readings:
    try:
        return Readings([Reading(None, None, payload.decode())])
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8 text") from None
