"""A slow, obvious reader of OPC UA Binary (OPC 10000-6, 5.2.2): the twin of the kernels."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FORMS = {type_id: f"<{letter}" for type_id, letter in enumerate("?bBhHiIqQfd", 1)}
DEEP = 100
SECOND_TICKS = 10_000_000
DAY_TICKS = 86_400 * SECOND_TICKS
TICKS_1970 = 134_774 * DAY_TICKS  # days from 1601 to 1970
TICKS_NEVER = 3_067_671 * DAY_TICKS - SECOND_TICKS  # one second before the year 10000


class Malformed(Exception):
    pass


@dataclass
class Value:
    """A Variant as it was sent; `at` and `end` are where its bytes lie."""

    type_id: int
    is_array: bool
    values: list[Any]
    at: int
    end: int
    dimensions: int = 0


@dataclass
class Item:
    """A DataValue with its client handle."""

    handle: int
    value: Value | None
    status: int = 0
    times: dict[str, int] = field(default_factory=dict)

    def time_ns(self, base_ns: int) -> int:
        for name in ("source", "server"):
            ticks = self.times.get(name, 0)
            tens = min(self.times.get(name + "_picoseconds", 0), 9999)
            ns = (ticks - TICKS_1970) * 100
            if 0 < ns < 2**63 - 99:
                return ns + tens // 100
        return base_ns


class Reader:
    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def take(self, size: int) -> bytes:
        if self.end - self.at < size:
            raise Malformed
        self.at += size
        return self.data[self.at - size : self.at]

    def one(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self) -> int:
        count: int = self.one("<i")
        if count < -1:
            raise Malformed
        return count

    def string(self) -> bytes | None:
        length = self.count()
        return None if length < 0 else self.take(length)

    def node_id(self) -> None:
        flags = self.one("<B")
        encoding = flags & 0x3F
        if encoding > 5:
            raise Malformed
        self.take({0: 1, 1: 3, 2: 6, 3: 2, 4: 18, 5: 2}[encoding])
        if encoding in (3, 5):
            self.string()
        if flags & 0x80:
            self.string()
        if flags & 0x40:
            self.take(4)

    def extension_object(self) -> None:
        self.node_id()
        encoding = self.one("<B")
        if encoding > 2:
            raise Malformed
        if encoding and self.string() is None and encoding == 1:
            raise Malformed

    def diagnostic_info(self) -> None:
        for _ in range(DEEP):
            mask = self.one("<B")
            self.take(4 * bin(mask & 0x0F).count("1"))
            if mask & 0x10:
                self.string()
            if mask & 0x20:
                self.take(4)
            if not mask & 0x40:
                return
        raise Malformed

    def localized_text(self) -> bytes | None:
        mask = self.one("<B")
        if mask & 1:
            self.string()
        return self.string() if mask & 2 else None

    def built_in(self, type_id: int, depth: int) -> Any:
        if type_id in FORMS:
            return self.one("<B") != 0 if type_id == 1 else self.one(FORMS[type_id])
        if type_id == 13:
            return self.one("<q")
        if type_id == 14:
            return self.take(16)
        if type_id == 19:
            return self.one("<I")
        if type_id == 20:
            self.take(2)
            return self.string()
        simple = {
            0: lambda: None, 17: self.node_id, 18: self.node_id, 21: self.localized_text,
            22: self.extension_object, 25: self.diagnostic_info,
        }  # fmt: skip
        if type_id in simple:
            return simple[type_id]()
        if type_id == 23:
            return self.data_value(0, depth)
        return self.variant(depth) if type_id == 24 else self.string()

    def variant(self, depth: int = 1) -> Value:
        if depth >= DEEP:
            raise Malformed
        at = self.at
        encoding = self.one("<B")
        type_id, is_array = encoding & 0x3F, bool(encoding & 0x80)
        count = max(self.count(), 0) if is_array else 1
        if type_id == 0 and is_array and count > 1 and count > self.end - self.at:
            raise Malformed
        values = [self.built_in(type_id, depth + 1) for _ in range(count)]
        dimensions = 0
        if encoding & 0x40:
            dimensions = max(self.count(), 0)
            self.take(4 * dimensions)
        return Value(type_id, is_array, values, at, self.at, dimensions)

    def data_value(self, handle: int, depth: int = 0) -> Item:
        if depth >= DEEP:
            raise Malformed
        mask = self.one("<B")
        item = Item(handle, self.variant(depth + 1) if mask & 1 else None)
        item.status = self.one("<I") if mask & 2 else 0
        for name, bit, picoseconds_bit in (("source", 4, 0x10), ("server", 8, 0x20)):
            if mask & bit:
                item.times[name] = self.one("<q")
            if mask & picoseconds_bit:
                item.times[name + "_picoseconds"] = self.one("<H")
        return item

    def items(self, handle: int | None = None) -> list[Item]:
        count = self.count()
        if count > self.end - self.at:
            raise Malformed
        return [self.data_value(self.one("<I") if handle is None else handle) for _ in range(count)]


def number(item: Item) -> float:
    """What an item's value is as a number."""
    value = item.value
    if value is None or value.is_array or value.dimensions:
        return math.nan
    (sent,) = value.values
    if value.type_id in FORMS or value.type_id == 19:
        return float(sent)
    if value.type_id == 13 and 0 < sent < TICKS_NEVER:
        return float(sent - TICKS_1970) / SECOND_TICKS
    return math.nan


def block(item: Item) -> Sequence[float] | None:
    """What an item's value is as a block of numbers."""
    value = item.value
    if value is None or not value.is_array or value.dimensions > 1 or not value.values:
        return None
    return [float(sent) for sent in value.values] if value.type_id in FORMS else None


def text(item: Item) -> tuple[int, Any] | None:
    """The type and what it sent of an item whose value is a text; bytes of what has no form."""
    value = item.value
    if value is None or value.is_array or value.dimensions:
        return None
    is_text = value.type_id in FORMS or value.type_id in (12, 13, 14, 16, 19, 20, 21)
    return (value.type_id, value.values[0]) if is_text and value.values[0] is not None else None
