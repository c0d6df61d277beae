"""The node as a host sees it: devices with metrics, what each was last told to be, and births.

Enters: changes of metrics (`points.py`). Leaves: messages in the order to be published; each has
the next seq. What was not told yet goes into the birth that must come before it; the rest is data,
in the order of time, as NDATA or DDATA. A value that waited, or is older than what its metric was
told last, is historical. What a metric was told already is not told again.

Bounded: `METRICS_MAX` metrics, each a few hundred bytes; `POINTS_MAX` values in one message, of
`DATA_BYTES_MAX` together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Final

from agent.sinks.sparkplug.data import (
    alias_piece,
    datatype_piece,
    metric_piece,
    quality,
    time_piece,
)
from agent.sparkplug import (
    BDSEQ,
    REBIRTH,
    DataType,
    Metric,
    Payload,
    Property,
    PropertySet,
    Topic,
    encode,
    varint,
)

METRICS_MAX: Final = 300_000
"""20,000 signals, the default of signals_max, have 9 or 10 each in their windows."""
POINTS_MAX: Final = 1000
DATA_BYTES_MAX: Final = 1 << 16
"""Brokers in use take packets of 128 kB and more, unless they say so."""
NEVER: Final = -1

Value = bool | int | float | str | None
Published = tuple[bytes, bytes]
"""Topic and payload."""

DATATYPES: Final = {
    bool: DataType.BOOLEAN, int: DataType.INT64, float: DataType.DOUBLE, str: DataType.STRING
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Tag:
    """A metric and what it was last told to be.

    piece : what is always the same of it in data
    signal : whose properties it has in births; "" where it has none
    time_ms : NEVER while it was told nothing
    """

    name: str
    datatype: DataType
    alias: int
    piece: bytes
    signal: str = ""
    properties: PropertySet = field(default_factory=dict)
    value: Value = None
    time_ms: int = NEVER
    status: int = 0
    historical: bool = False


Change = tuple[int, Tag, Value, int, bool]
"""Time in ms, the metric, its value and status, and whether it is told only where it differs."""


class Device:
    """The metrics of one machine, or of the node itself (`name` is empty).

    is_new : it must be born before it says more
    about : properties of its signals
    """

    def __init__(self, group: str, node: str, name: str, properties: dict[str, str]) -> None:
        kind = "D" if name else "N"
        self.name = name
        self.birth_topic = str(Topic(group, f"{kind}BIRTH", node, name)).encode()
        self.data_topic = str(Topic(group, f"{kind}DATA", node, name)).encode()
        self.properties = properties
        self.tags: dict[str, Tag] = {}
        self.about: dict[str, PropertySet] = {}
        self.changes: list[Change] = []
        self.is_new = True

    def learn(self, signal: str, about: PropertySet) -> None:
        """What is known of a signal; hosts learn of it by a birth."""
        if self.about.get(signal) != about:
            self.about[signal] = about
            self.is_new |= any(tag.signal == signal for tag in self.tags.values())

    def metrics(self, now_ms: int) -> list[Metric]:
        """All metrics as they stand, for a birth."""
        return [
            Metric(f"Properties/{name}", DataType.STRING, text, now_ms)
            for name, text in self.properties.items()
        ] + [
            Metric(
                tag.name, tag.datatype, tag.value,
                now_ms if tag.time_ms == NEVER else tag.time_ms, tag.alias, tag.historical,
                properties={
                    **self.about.get(tag.signal, {}), **tag.properties, **quality(tag.status)
                },
            )
            for tag in self.tags.values()
        ]  # fmt: skip


class Node:
    """An edge node. Used by one thread at a time.

    datatypes : whether data says the types of metrics, too
    data_bytes_max : of the values in one message, unless it is a single one
    """

    def __init__(
        self, group: str, node: str, properties: dict[str, str], *, datatypes: bool = False
    ) -> None:
        self._group, self._node = group, node
        self._datatypes = datatypes
        self._own = Device(group, node, "", properties)
        self._devices = {"": self._own}
        self._tags = 0
        self._seq = 0
        self.bdseq = 0
        self.data_bytes_max = DATA_BYTES_MAX

    def death(self, now_ms: int) -> Published:
        """The message that this session is over, and its will: no seq, nothing but bdSeq."""
        topic = str(Topic(self._group, "NDEATH", self._node)).encode()
        bdseq = Metric(BDSEQ, DataType.INT64, self.bdseq, now_ms)
        return topic, encode(Payload(now_ms, [bdseq]))

    def device(self, name: str, properties: dict[str, str]) -> Device:
        """A device, new or known; "" is the node."""
        device = self._devices.get(name)
        if device is None:
            device = self._devices[name] = Device(self._group, self._node, name, properties)
        return device

    def tag(
        self, device: Device, name: str, value: Value, signal: str, properties: PropertySet
    ) -> Tag:
        """A metric, new or known, that can hold the value. Raises ValueError at METRICS_MAX."""
        tag = device.tags.get(name)
        if tag is None:
            if self._tags >= METRICS_MAX:
                raise ValueError(f"the node has {METRICS_MAX:,} metrics already")
            self._tags += 1
            datatype = DataType.DOUBLE if value is None else DATATYPES[type(value)]
            piece = self._piece(self._tags, datatype)
            tag = device.tags[name] = Tag(name, datatype, self._tags, piece, signal, properties)
            device.is_new = True
        elif value is not None and DATATYPES[type(value)] != tag.datatype:
            tag.datatype, tag.value, tag.time_ms = DATATYPES[type(value)], None, NEVER
            tag.piece = self._piece(tag.alias, tag.datatype)
            device.is_new = True
        return tag

    def _piece(self, alias: int, datatype: DataType) -> bytes:
        return alias_piece(alias) + (datatype_piece(datatype) if self._datatypes else b"")

    def begin(self) -> None:
        """A new session: the next that is told begins with all births."""
        self._own.is_new = True

    def births(self, now_ms: int) -> Iterator[Published]:
        """Everything there is, as a new session or a host that asks for it must be told."""
        self._seq = 0
        control = [
            Metric(BDSEQ, DataType.INT64, self.bdseq, now_ms),
            Metric(REBIRTH, DataType.BOOLEAN, False, now_ms),
        ]
        own = self._own
        own.is_new = False
        yield own.birth_topic, self._birth(control + own.metrics(now_ms), now_ms)
        for device in self._devices.values():
            if device.tags and device is not own:
                device.is_new = False
                yield device.birth_topic, self._birth(device.metrics(now_ms), now_ms)

    def tell(self, now_ms: int, *, waited: bool) -> Iterator[Published]:
        """What has changed, after the births that must come first.

        waited : it is old; the newest was told, or will be, by another message
        """
        devices = [device for device in self._devices.values() if device.changes]
        for device in devices:
            device.changes.sort(key=itemgetter(0))
            if device.is_new:
                device.changes = [one for one in device.changes if not _first(one, waited)]
        if self._own.is_new:
            yield from self.births(now_ms)
        for device in devices:
            if device.is_new:
                device.is_new = False
                yield device.birth_topic, self._birth(device.metrics(now_ms), now_ms)
            changes, device.changes = device.changes, []
            yield from self._data(device, changes, now_ms, waited)

    def forget_changes(self) -> None:
        """What was to be told is not."""
        for device in self._devices.values():
            device.changes = []

    def _data(
        self, device: Device, changes: list[Change], now_ms: int, waited: bool
    ) -> Iterator[Published]:
        pieces: list[bytes] = []
        held: set[int] = set()
        size, last_ms, time = 0, -1, b""
        for time_ms, tag, value, status, on_change in changes:
            told_ms = tag.time_ms
            is_known = time_ms == told_ms or (on_change and time_ms > told_ms >= 0)
            if is_known and value == tag.value and status == tag.status:
                continue
            if time_ms != last_ms:
                last_ms, time = time_ms, time_piece(time_ms)
                held.clear()
            historical = waited or time_ms < told_ms
            # Values of one metric at one time go in different messages (5.16).
            piece = metric_piece(tag.piece, time, value, historical, status)
            size += len(piece)
            is_full = len(pieces) == POINTS_MAX or size > self.data_bytes_max
            if pieces and (is_full or tag.alias in held):
                yield device.data_topic, self._payload(pieces, now_ms)
                pieces, held, size = [], set(), len(piece)
            held.add(tag.alias)
            pieces.append(piece)
            if time_ms >= told_ms:
                tag.time_ms, tag.value, tag.status = time_ms, value, status
                tag.historical = historical
        if pieces:
            yield device.data_topic, self._payload(pieces, now_ms)

    def _payload(self, pieces: list[bytes], now_ms: int) -> bytes:
        return b"\x08%b%b\x18%b" % (varint(now_ms), b"".join(pieces), varint(self._next_seq()))

    def _birth(self, metrics: list[Metric], now_ms: int) -> bytes:
        metrics.sort(key=attrgetter("timestamp_ms"))
        return encode(Payload(now_ms, metrics, self._next_seq()))

    def _next_seq(self) -> int:
        seq = self._seq
        self._seq = (seq + 1) % 256
        return seq


def _first(change: Change, waited: bool) -> bool:
    """Let a metric that was told nothing begin with this change; whether it did."""
    time_ms, tag, value, status, _ = change
    if tag.time_ms != NEVER:
        return False
    tag.time_ms, tag.value, tag.status, tag.historical = time_ms, value, status, waited
    return True


def text_property(text: str) -> Property:
    """A property that is a text."""
    return Property(DataType.STRING, text)
