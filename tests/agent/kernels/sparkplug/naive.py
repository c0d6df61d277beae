"""A slow, obvious reader of Sparkplug payloads (Sparkplug 3.0, 6.4): the twin of the kernels."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING = range(10, 16)
WIRE_TYPES = {10: 0, 11: 0, 12: 5, 13: 1, 14: 0, 15: 2, 16: 2, 17: 2, 18: 2, 19: 2}
WIDTHS = {1: 8, 2: 16, 3: 32, 4: 64}


class Malformed(Exception):
    pass


@dataclass
class One:
    """A metric as it was sent; `value` is its field's number and content."""

    name: bytes | None = None
    alias: int | None = None
    time_ms: int = 0
    datatype: int = 0
    is_historical: bool = False
    is_transient: bool = False
    is_null: bool = False
    properties: bytes | None = None
    value: tuple[int, Any] | None = None

    def quality(self) -> int | None:
        if not self.properties:
            return None
        fields = read_fields(self.properties)
        keys = [content for tag, content in fields if tag == (1, 2)]
        values = [content for tag, content in fields if tag == (2, 2)]
        if len(keys) != len(values) or b"Quality" not in keys:
            return None
        place = len(keys) - 1 - keys[::-1].index(b"Quality")
        found: int | None = None
        is_null = False
        for tag, content in read_fields(values[place]):
            if tag in ((3, 0), (4, 0)):
                found = content % 2**32
            elif tag == (2, 0):
                is_null = bool(content)
        return None if is_null else found

    def number(self, datatype: int) -> float:
        """Its value as a number of a data type; NaN where there is none."""
        if self.value is None or self.is_null:
            return math.nan
        field, content = self.value
        if field in (FLOAT, DOUBLE):
            return float(content)
        if field > BOOLEAN:
            return math.nan
        if field == BOOLEAN or datatype == 11:
            return float(content != 0)
        if datatype in WIDTHS:
            width = WIDTHS[datatype]
            content %= 2**width
            return float(content - 2**width if content >= 2 ** (width - 1) else content)
        return content / 1000 if datatype == 13 else float(content)


@dataclass
class Message:
    timestamp_ms: int = 0
    seq: int = -1
    metrics: list[One] | None = None


def read(data: bytes) -> Message:
    """A payload; raises Malformed."""
    message = Message(metrics=[])
    assert message.metrics is not None
    for tag, content in read_fields(data):
        match tag:
            case (1, 0):
                message.timestamp_ms = content
            case (3, 0):
                message.seq = content % 256
            case (2, 2):
                message.metrics.append(_metric(content))
    return message


def _metric(data: bytes) -> One:
    one = One()
    for (number, wire_type), content in read_fields(data):
        match number, wire_type:
            case 1, 2:
                one.name = content
            case 2, 0:
                one.alias = content
            case 3, 0:
                one.time_ms = content
            case 4, 0:
                one.datatype = content % 2**32
            case 5, 0:
                one.is_historical = content != 0
            case 6, 0:
                one.is_transient = content != 0
            case 7, 0:
                one.is_null = content != 0
            case 9, 2:
                one.properties = content
            case _ if WIRE_TYPES.get(number) == wire_type:
                one.value = number, content
    one.quality()
    return one


def read_fields(data: bytes) -> list[tuple[tuple[int, int], Any]]:
    """Number, wire type and content of each field: an int, a float, or bytes."""
    found = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or tag >= 2**32 or wire_type not in (0, 1, 2, 5):
            raise Malformed
        content: Any
        if wire_type == 0:
            content, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire_type, 0)
            if wire_type == 2:
                size, at = _varint(data, at)
            if at + size > len(data):
                raise Malformed
            content = data[at : at + size]
            at += size
            if (number, wire_type) == (12, 5):
                content = struct.unpack("<f", content)[0]
            elif (number, wire_type) == (13, 1):
                content = struct.unpack("<d", content)[0]
        found.append(((number, wire_type), content))
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise Malformed
        value |= (data[at + i] & 0x7F) << (7 * i)
        if data[at + i] < 0x80:
            return value % 2**64, at + i + 1
    raise Malformed
