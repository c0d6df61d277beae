"""A host that only reads: the slow, obvious way from the bytes of Sparkplug messages to values.

It keeps what the specification wants it to keep (aliases from births) and asserts on the way what
every message must keep to: seq counted without a hole, QoS 0, not retained, births before data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho

Fields = dict[int, list[Any]]


def fields(data: bytes) -> Fields:
    """The fields of a protobuf message by number."""
    found: Fields = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        value: Any
        if tag & 7 == 0:
            value = varint()
        else:
            length = {1: 8, 2: -1, 5: 4}[tag & 7]
            length = varint() if length < 0 else length
            value, at = data[at : at + length], at + length
        found.setdefault(tag >> 3, []).append(value)
    return found


@dataclass
class Seen:
    """One metric of one message."""

    name: str | None
    alias: int | None
    time_ms: int | None
    datatype: int | None
    value: Any
    historical: bool = False
    null: bool = False
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass
class Read:
    """One message."""

    kind: str
    device: str
    qos: int
    retain: bool
    time_ms: int | None
    seq: int | None
    metrics: list[Seen]

    def __getitem__(self, name: str) -> Seen:
        return next(metric for metric in self.metrics if metric.name == name)


def read(topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> Read:
    """A message; metrics have the names that the message gives them."""
    _, _, kind, _, *device = topic.split("/")
    found = fields(payload)
    metrics = [_metric(fields(block)) for block in found.get(2, [])]
    time_ms, seq = found.get(1, [None])[0], found.get(3, [None])[0]
    return Read(kind, "/".join(device), qos, retain, time_ms, seq, metrics)


def _metric(found: Fields) -> Seen:
    def one(number: int) -> Any:
        values = found.get(number, [None])
        assert len(values) == 1
        return values[0]

    name = one(1)
    properties: dict[str, Any] = {}
    for block in found.get(9, []):
        inner = fields(block)
        keys = [key.decode() for key in inner.get(1, [])]
        values = inner.get(2, [])
        assert len(keys) == len(values)
        properties = {
            key: _value(fields(value), 3) for key, value in zip(keys, values, strict=True)
        }
    return Seen(
        None if name is None else name.decode(), one(2), one(3), one(4), _value(found, 10),
        bool(one(5)), bool(one(7)), properties,
    )  # fmt: skip


def _value(found: Fields, first: int) -> Any:
    for number, value in ((offset, found[first + offset][0]) for offset in _readers(found, first)):
        if number == 0:
            return value
        if number == 1:
            return value - 2**64 if value >= 2**63 else value
        if number == 3:
            return struct.unpack("<d", value)[0]
        return bool(value) if number == 4 else value.decode()
    return None


def _readers(found: Fields, first: int) -> Iterator[int]:
    return (offset for offset in (0, 1, 3, 4, 5) if first + offset in found)


class Host:
    """Follows one node."""

    def __init__(self) -> None:
        self.messages: list[Read] = []
        self.values: dict[tuple[str, str], list[Seen]] = {}
        self._names: dict[str, dict[int, Seen]] = {}
        self._seq: int | None = None
        self._bdseq: int | None = None

    def hear(self, messages: Sequence[paho.MQTTMessage]) -> Host:
        """Take up messages of a broker."""
        for message in messages:
            if message.topic.split("/")[2] in ("NCMD", "STATE") or "STATE" in message.topic:
                continue
            self.take(read(message.topic, bytes(message.payload), message.qos, message.retain))
        return self

    def take(self, message: Read) -> None:
        """Take up a message. Asserts what every message must keep to."""
        self.messages.append(message)
        assert not message.retain
        if message.kind == "NDEATH":
            assert message.seq is None
            if message["bdSeq"].value == self._bdseq:  # else of a session that is over
                self._names, self._seq = {}, None
            return
        assert message.qos == 0
        assert message.time_ms is not None
        if message.kind == "NBIRTH":
            assert message.seq == 0
            self._names, self._bdseq = {}, message["bdSeq"].value
        else:
            assert self._seq is not None, "a message before the node's birth"
            assert message.seq == (self._seq + 1) % 256
        self._seq = message.seq
        self._births(message) if message.kind.endswith("BIRTH") else self._data(message)
        assert all(one.time_ms is not None for one in message.metrics)
        told = [one.time_ms or 0 for one in message.metrics if not one.historical]
        assert told == sorted(told), "values that are not historical are not in order"
        for one in message.metrics:
            assert one.name is not None
            self.values.setdefault((message.device, one.name), []).append(one)

    def _births(self, message: Read) -> None:
        known = self._names[message.device] = {}
        for one in message.metrics:
            assert one.name is not None
            assert one.datatype is not None
            if one.alias is not None:
                known[one.alias] = one
        aliases = [alias for names in self._names.values() for alias in names]
        assert len(aliases) == len(set(aliases)), "two metrics of one alias"

    def _data(self, message: Read) -> None:
        told = [(one.alias, one.time_ms) for one in message.metrics]
        assert len(told) == len(set(told)), "one metric twice at one time in one message"
        for one in message.metrics:
            assert one.alias is not None
            assert (one.name, one.datatype) == (None, None)
            born = self._names[message.device][one.alias]
            one.name = born.name
            assert one.null == (one.value is None)
