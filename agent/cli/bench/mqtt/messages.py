"""What the publisher sends: PUBLISH packets of 1,000 signals, or of a Sparkplug node, made before.

Enters: the time. Leaves: packets as bytes in which only the time is new, written over the old one
at places found beforehand: making a message costs next to nothing, so that publishing takes no
more of the processor from the others than sending does. MQTT 3.1.1, 3.3; Sparkplug 3.0, 6.4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from typing import Final

import numpy as np

from agent.sparkplug import DataType, Metric, Payload, encode, varint

SIGNALS: Final = 1000
PER_MACHINE: Final = 50
TOPIC: Final = "floor/{machine}/{signal}"
ROUNDS: Final = 8
"""Rounds of values, which come again and again."""
METRICS: Final = 500
"""Of a Sparkplug message."""
GROUP: Final = "bench"
SEQ: Final = 256
"""Sparkplug counts a node's messages up to here (3.0, 6.4.1)."""
TOGETHER: Final = 16
"""Sparkplug messages in a block."""
_NODE: Final = f"spBv1.0/{GROUP}/{{}}/node"
_TIMES_MS: Final = 1_111_111_111_111, 2_222_222_222_222
"""Two times that differ in each of their bytes, as digits and as varints."""


class Block:
    """Packets that are sent together.

    make : gives their bytes at a time, in ms; only the time may change
    stamp : gives a time's bytes in them
    number : of samples in them
    """

    def __init__(
        self, make: Callable[[int], bytes], stamp: Callable[[int], bytes], number: int
    ) -> None:
        self.number: Final = number
        self._stamp = stamp
        self._bytes, other = (np.frombuffer(make(at_ms), np.uint8).copy() for at_ms in _TIMES_MS)
        width = len(stamp(_TIMES_MS[0]))
        self._times = np.flatnonzero(self._bytes != other).reshape(-1, width)

    def at(self, time_ms: int) -> memoryview:
        """The packets of this moment; valid until the next are asked for."""
        self._bytes[self._times] = np.frombuffer(self._stamp(time_ms), np.uint8)
        return self._bytes.data


def values(qos: int, part: int, parts: int) -> Iterator[Block]:
    """JSON messages of one value each, for ever: of every signal, or of one part of them."""
    chosen = np.random.default_rng(part)
    mine = range(part, SIGNALS, parts)

    def block() -> Block:
        levels = chosen.uniform(10, 99.9, len(mine))

        def make(time_ms: int) -> bytes:
            return b"".join(
                publish(topic(number), payload(level, time_ms), qos)
                for number, level in zip(mine, levels, strict=True)
            )

        return Block(make, lambda time_ms: str(time_ms).encode(), len(mine))

    return cycle([block() for _ in range(ROUNDS)])


def topic(number: int) -> str:
    """The topic of a signal."""
    machine, signal = divmod(number, PER_MACHINE)
    return f"floor/machine-{machine:03}/signal_{signal:02}"


def payload(value: float, time_ms: int) -> bytes:
    """The JSON of one value, from 10.0 to 99.9: always as many bytes."""
    return b'{"v":%.1f,"ts":%d}' % (value, time_ms)


def metrics() -> Iterator[Block]:
    """Sparkplug messages of one node, for ever: its birth, then data."""

    def birth(time_ms: int) -> bytes:
        return publish(_NODE.format("NBIRTH"), node_birth(time_ms), 0)

    def data(first: int) -> Block:
        def make(time_ms: int) -> bytes:
            numbers = (seq % SEQ for seq in range(first, first + TOGETHER))
            return b"".join(
                publish(_NODE.format("NDATA"), node_data(seq, time_ms), 0) for seq in numbers
            )

        return Block(make, varint, TOGETHER * METRICS)

    # The birth has number 0, so data begins with 1.
    blocks = [data(first) for first in range(1, SEQ, TOGETHER)]
    return chain([Block(birth, varint, METRICS)], cycle(blocks))


def node_data(seq: int, time_ms: int) -> bytes:
    """The payload of an NDATA: every metric of the node, by its alias."""
    levels = np.random.default_rng(seq).uniform(10, 100, METRICS).tolist()
    data = [
        Metric(None, DataType.DOUBLE, level, time_ms, alias) for alias, level in enumerate(levels)
    ]
    return encode(Payload(time_ms, data, seq), datatypes=False)


def node_birth(time_ms: int) -> bytes:
    """The payload of its NBIRTH."""
    born = [
        Metric(f"Motor {alias:03}/Current", DataType.DOUBLE, 21.5, time_ms, alias)
        for alias in range(METRICS)
    ]
    control = [
        Metric("bdSeq", DataType.INT64, 0, time_ms),
        Metric("Node Control/Rebirth", DataType.BOOLEAN, False, time_ms),
    ]
    return encode(Payload(time_ms, [*control, *born], 0))


def publish(topic: str, payload: bytes, qos: int) -> bytes:
    """A PUBLISH packet; with QoS 1 they all have packet id 1: the broker answers each at once."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + (b"\0\1" if qos else b"") + payload
    return bytes([0x30 | qos << 1]) + varint(len(body)) + body


def connect(client_id: str) -> bytes:
    """A CONNECT packet, MQTT 3.1.1, with a clean session and without keep-alive."""
    name = client_id.encode()
    body = b"\0\4MQTT\4\2\0\0" + struct.pack(">H", len(name)) + name
    return b"\x10" + varint(len(body)) + body


def subscribe(topic: str) -> bytes:
    """A SUBSCRIBE packet at QoS 0."""
    name = topic.encode()
    body = b"\0\1" + struct.pack(">H", len(name)) + name + b"\0"
    return b"\x82" + varint(len(body)) + body
