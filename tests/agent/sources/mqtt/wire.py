"""PUBLISH packets as a broker sends them, and as the source has them."""

from __future__ import annotations

from agent.sources.mqtt.packets import Publishes, publishes
from tests.agent.kernels.mqtt.naive import Message, publish


def frame(
    topic: bytes = b"a", payload: bytes = b"1", *, mid: int = 0, dup: bool = False, qos: int = 0
) -> bytes:
    """One packet of MQTT 3.1.1."""
    return publish(Message(topic, payload, qos, mid, dup))


def messages(*frames: bytes) -> Publishes:
    """Packets as columns."""
    return publishes(frames, False)
