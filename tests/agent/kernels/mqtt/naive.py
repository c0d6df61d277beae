"""Packets of MQTT, written byte by byte (MQTT 5.0, 1.5, 2, 3.3)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A PUBLISH."""

    topic: bytes
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    dup: bool = False
    retain: bool = False

    @property
    def digest(self) -> int:
        """What redeliveries are known by."""
        return zlib.crc32(self.topic + b"\0" + self.payload) if self.qos else 0


def varint(number: int, least: int = 1) -> bytes:
    """A variable byte integer of at least so many bytes."""
    written = bytearray()
    while number or len(written) < least:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written[-1] &= 0x7F
    return bytes(written)


def text(value: bytes) -> bytes:
    """Bytes behind their length."""
    return len(value).to_bytes(2, "big") + value


def frame(first: int, rest: bytes, least: int = 1) -> bytes:
    """A packet of any type."""
    return bytes([first]) + varint(len(rest), least) + rest


def publish(message: Message, properties: bytes | None = None) -> bytes:
    """A PUBLISH; with properties, even b"", of MQTT 5."""
    first = 0x30 | message.dup << 3 | message.qos << 1 | message.retain
    rest = text(message.topic)
    if message.qos:
        rest += message.packet_id.to_bytes(2, "big")
    if properties is not None:
        rest += varint(len(properties)) + properties
    return frame(first, rest + message.payload)
