"""PUBLISH packets as a broker sends them (MQTT 3.1.1, 3.3)."""

from __future__ import annotations

from agent.sources.mqtt.packets import Publishes, publishes


def frame(
    topic: bytes = b"a", payload: bytes = b"1", *, mid: int = 0, dup: bool = False, qos: int = 0
) -> bytes:
    """One packet."""
    number = mid.to_bytes(2, "big") if qos else b""
    rest = len(topic).to_bytes(2, "big") + topic + number + payload
    return bytes((0x30 | dup << 3 | qos << 1,)) + _length(len(rest)) + rest


def messages(*frames: bytes) -> Publishes:
    """Packets as columns."""
    return publishes(frames, False)


def _length(size: int) -> bytes:
    digits = bytearray()
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes((*digits, size))
