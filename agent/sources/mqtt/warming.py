"""Compiles the kernels of this source, or loads them, before a broker waits for an answer."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from agent.config import MqttConfig
from agent.signals import Kind
from agent.sources.mqtt.decode import Decoder
from agent.sources.mqtt.packets import Splitter, publishes
from agent.sources.mqtt.sparkplug import Host
from agent.sources.quarantine import Quarantine
from agent.sparkplug import DataType, Metric, Payload, Topic, encode

_CONFIG: Final = {
    "name": "warming",
    "url": "mqtt://localhost",
    "sparkplug": {},
    "topics": ({"topic": "{machine}/{signal}", "payload": {"json": {"value": "v", "time": "t"}}},),
}


def warm_up() -> None:
    """Read a message of each kind, twice: the second time by what was learned of the first."""
    config = MqttConfig.model_validate(_CONFIG)
    quarantine = Quarantine(config.name)
    assert config.sparkplug is not None
    host = Host(config.sparkplug, _metric, time.time_ns, lambda *_: None, quarantine)
    decoder = Decoder(config, lambda *_: (0, "analog"), quarantine, host)
    birth, data = (
        encode(Payload(1, (Metric(name, DataType.DOUBLE, 1.0, 1, alias=1),), seq))
        for name, seq in (("m", 0), (None, 1))
    )
    packets = _packet("m/s", b'{"v":1.5,"t":1}', 1)
    packets += _packet(str(Topic("g", "NBIRTH", "n")), birth)
    packets += _packet(str(Topic("g", "NDATA", "n")), data)
    for _ in range(2):
        splitter = Splitter(v5=False)
        splitter.room[: len(packets)] = packets
        _, chunk = splitter.split(len(packets))
        messages = publishes([chunk], v5=False)
        decoder.batch(messages, np.ones(len(messages), np.bool_), time.time_ns())


def _metric(
    _group: str, _node: str, _device: str, _metric: str, kind: Kind, _unit: str
) -> tuple[int, Kind]:
    return 1, kind


def _packet(topic: str, payload: bytes, qos: int = 0) -> bytes:
    """A PUBLISH packet of fewer than 128 bytes (MQTT 3.1.1, 3.3)."""
    number = b"\0\1" if qos else b""
    rest = len(topic).to_bytes(2, "big") + topic.encode() + number + payload
    return bytes((0x30 | qos << 1, len(rest))) + rest
