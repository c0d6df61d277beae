"""A plant for tests of the host: nodes that speak, a broker in memory, and a clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.batch import Int64
from agent.config.mqtt.sparkplug import SparkplugHostConfig
from agent.errors import SignalsFull
from agent.signals import Kind
from agent.sources.mqtt.sparkplug import Host, Rows
from agent.sources.quarantine import Quarantine
from agent.sparkplug import BDSEQ, REBIRTH, DataType, Metric, Payload, Topic, encode

MS_NS = 1_000_000
START_MS = 1_763_859_600_000
D = DataType


@dataclass
class Sent:
    """Messages as the splitter leaves them."""

    topics: list[bytes]
    raw: npt.NDArray[np.uint8]
    payload_at: Int64
    payload_len: Int64
    retain: npt.NDArray[np.bool_]

    def topic(self, row: int) -> bytes:
        return self.topics[row]


def publishes(messages: Sequence[tuple[str, bytes]], retained: bool = False) -> Sent:
    sizes = [len(payload) for _, payload in messages]
    return Sent(
        [topic.encode(errors="surrogateescape") for topic, _ in messages],
        np.frombuffer(b"".join(payload for _, payload in messages), np.uint8),
        np.cumsum([0, *sizes[:-1]], dtype=np.int64)[: len(sizes)],
        np.array(sizes, np.int64),
        np.full(len(messages), retained),
    )


def number(name: str, value: float | None, time_ms: int, **more: Any) -> Metric:
    return Metric(name, D.DOUBLE, value, time_ms, **more)


@dataclass
class Speaker:
    """An edge node that counts its messages."""

    plant: Plant
    group: str = "plant"
    name: str = "edge"
    bdseq: int = 0
    seq: int = 0

    def say(
        self, message: str, metrics: Iterable[Metric] = (), device: str = "", **more: Any
    ) -> tuple[str, bytes]:
        """A message with the next number, or with `seq`; at `time_ms`, else now."""
        seq = more.get("seq", 0 if message == "NBIRTH" else self.seq)
        if message == "NDEATH":
            seq = None
        elif seq is not None:
            self.seq = (seq + 1) % 256
        payload = Payload(more.get("time_ms", self.plant.now_ms), tuple(metrics), seq)
        topic = Topic(self.group, message, self.name, device)
        return str(topic), encode(payload, datatypes="BIRTH" in message)

    def nbirth(self, *metrics: Metric, **more: Any) -> tuple[str, bytes]:
        now_ms = self.plant.now_ms
        own = (
            Metric(BDSEQ, D.INT64, self.bdseq, now_ms),
            Metric(REBIRTH, D.BOOLEAN, False, now_ms),
        )
        return self.say("NBIRTH", (*own, *metrics), **more)

    def dbirth(self, device: str, *metrics: Metric, **more: Any) -> tuple[str, bytes]:
        return self.say("DBIRTH", metrics, device, **more)

    def ndata(self, *metrics: Metric, **more: Any) -> tuple[str, bytes]:
        return self.say("NDATA", metrics, **more)

    def ddata(self, device: str, *metrics: Metric, **more: Any) -> tuple[str, bytes]:
        return self.say("DDATA", metrics, device, **more)

    def ddeath(self, device: str, **more: Any) -> tuple[str, bytes]:
        return self.say("DDEATH", (), device, **more)

    def ndeath(self, bdseq: int | None = None) -> tuple[str, bytes]:
        death = self.bdseq if bdseq is None else bdseq
        return self.say("NDEATH", (Metric(BDSEQ, D.INT64, death, 1),), time_ms=1)


@dataclass
class Plant:
    """The host under test, what it asked for, and the signals it made."""

    config: SparkplugHostConfig = field(default_factory=SparkplugHostConfig)
    now_ms: int = START_MS
    signals: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    made: dict[tuple[str, str, str, str], tuple[Kind, str]] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    signals_max: int = 1_000
    kinds: dict[str, Kind] = field(default_factory=dict)
    """What the configuration says of metrics, by name."""
    same: bool = False
    """Whether devices of one name are one machine, whatever node they are of."""

    def __post_init__(self) -> None:
        self.quarantine = Quarantine("plant")
        self.host = Host(self.config, self.resolve, self.now_ns, self.send, self.quarantine)

    def now_ns(self) -> int:
        return self.now_ms * MS_NS

    def send(self, topic: str, payload: bytes) -> None:
        self.asked.append((topic, payload))

    def resolve(
        self, group: str, node: str, device: str, metric: str, kind: Kind, unit: str
    ) -> tuple[int, Kind]:
        if metric.startswith("wrong"):
            raise ValueError("not a name for a signal")
        key = ("", "", device, metric) if self.same else (group, node, device, metric)
        if key not in self.signals and len(self.signals) >= self.signals_max:
            raise SignalsFull("too many signals")
        self.made[key] = self.kinds.get(metric, kind), unit
        return self.signals.setdefault(key, len(self.signals)), self.kinds.get(metric, kind)

    def take(self, *messages: tuple[str, bytes]) -> list[tuple[Any, ...]]:
        """What the host makes of messages: device or node, metric, ms since the start, value."""
        return self.read(self.rows(*messages))

    def rows(self, *messages: tuple[str, bytes]) -> Rows:
        sent = publishes(messages)
        return self.host.take(sent, np.arange(len(messages), dtype=np.int64), self.now_ns())

    def look(self, after_ms: int = 0) -> list[tuple[Any, ...]]:
        """The same of what time brings."""
        self.now_ms += after_ms
        rows = self.host.look(self.now_ns())
        return [] if rows is None else self.read(rows)

    def read(self, rows: Rows) -> list[tuple[Any, ...]]:
        names = {number: key for key, number in self.signals.items()}
        kinds = {number: self.made[key][0] for key, number in self.signals.items()}
        found = []
        for i, signal in enumerate(rows.signal.tolist()):
            _, node, device, metric = names[signal]
            value: Any = rows.value[i]
            if math.isnan(value):
                value = hex(int(rows.status[i]))
            elif kinds[signal] == "text":
                value = rows.texts[int(value)]
            after_ms = (int(rows.time_ns[i]) - START_MS * MS_NS) / MS_NS
            found.append((device or node, metric, after_ms, value))
        return found

    @property
    def rejected(self) -> dict[str, int]:
        return dict(self.quarantine.rejected)
