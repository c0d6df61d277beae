"""Frames of MQTT: where each ends, and where a PUBLISH has topic and payload (MQTT 5.0, 2, 3.3).

Enters: bytes as they came. Leaves: where whole frames end and which are no PUBLISH; of PUBLISH
frames the columns. Properties of MQTT 5 are stepped over, each checked for its length. Fails: with
a fault that says what, in place of a position.

    frame = type and flags, remaining length (1 to 4 bytes, 7 bits each), the rest
    rest of a PUBLISH = topic, packet id where QoS > 0, properties in MQTT 5, payload

Cost: 10 ns a frame split and 15 ns one read, and 1.6 ns a byte for the digest where QoS > 0.
Memory: none but the given rows.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.crc import NOTHING, crc32, crc32_zero
from agent.kernels.mqtt.reading import Int, compiled, u16

PUBLISH: Final = 3
"""The type of a frame, its first four bits (MQTT 5.0, 2.1.2)."""

LENGTH: Final = 1
QOS: Final = 2
ENDS: Final = 3
TOPIC: Final = 4
PACKET_ID: Final = 5
PROPERTY: Final = 6
ALIAS: Final = 7
FAULTS: Final = (
    "",
    "a packet's length takes more than four bytes",
    "a message has QoS 3, which there is not",
    "a message ends before its payload begins",
    "a message has no topic",
    "a message has the packet id 0",
    "a message has properties that are not as MQTT 5 writes them",
    "a message has an alias for its topic, which nobody allowed",
)
"""By the number of a fault. Numbers begin with 1, so that a fault is below 0."""

AT: Final = 0
NEEDED: Final = 1
OTHERS: Final = 2
PUBLISHED: Final = 3
WALK: Final = 4
"""Places in the state of a walk, (WALK,) int64: behind the last whole frame; the bytes of the frame
that begins there, 0 where its length has not come; rows in `others`; frames of type PUBLISH."""

OTHER: Final = 2
"""Columns of a frame that is no PUBLISH, int64: start, end."""

_HEADER_BYTES_MAX: Final = 5

_SIZES: Final = np.zeros(256, np.int64)
"""Of the properties of a PUBLISH (MQTT 5.0, 3.3.2.3): bytes of one, or how its length is found."""
_TEXT: Final = -1
_PAIR: Final = -2
_VARINT: Final = -3
_ALIAS: Final = -4
_IDENTIFIER: Final = 0x0B
_SIZES[[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26]] = [
    1, 4, _TEXT, _TEXT, _TEXT, _VARINT, _ALIAS, _PAIR,
]  # fmt: skip


@compiled
def _skip_varint(body: Any, p: Int, end: Int) -> Int:
    """Behind a variable byte integer (MQTT 5.0, 1.5.5); `end` + 1 where it is not whole.

    This and the others that each frame needs have one way out: on several, numba counts references
    to `body`.
    """
    behind = p + 1
    if p >= end or body[p] >= 0x80:
        last = min(p + 3, end - 1)
        while p < last and body[p] >= 0x80:
            p += 1
        behind = p + 1 if p <= last and body[p] < 0x80 else end + 1
    return behind


@compiled
def _varint(body: Any, p: Int, behind: Int) -> Int:
    """A variable byte integer that has been stepped over."""
    read = np.int64(body[behind - 1])
    for at in range(behind - 2, p - 1, -1):
        read = (read << 7) | np.int64(body[at] & 0x7F)
    return read


@compiled
def _skip_properties(body: Any, p: Int, end: Int) -> Int:
    """Behind the properties of a PUBLISH; or a fault."""
    start = _skip_varint(body, p, end)
    behind = start + _varint(body, p, start) if start <= end else end + 1
    if behind > end:
        return np.int64(-PROPERTY)
    p = start
    while p < behind:
        size = _SIZES[body[p]]
        p += 1
        if size == _ALIAS:
            return np.int64(-ALIAS)
        if size > 0:
            p += size
        elif size == _VARINT:
            p = _skip_varint(body, p, behind)
        elif size == 0:
            return np.int64(-PROPERTY)
        else:
            for _ in range(-size):
                if behind - p < 2:
                    return np.int64(-PROPERTY)
                p += 2 + u16(body, p)
    return p if p == behind else np.int64(-PROPERTY)


@compiled
def _subscription(body: Any, p: Int, end: Int) -> Int:
    """The subscription identifier among properties that have been stepped over.

    0 where there is none, or several: then the message comes once for all of them.
    """
    found, ids = np.int64(0), 0
    p = _skip_varint(body, p, end)
    while p < end:
        kind = body[p]
        size = _SIZES[kind]
        p += 1
        if size == _VARINT:
            behind = _skip_varint(body, p, end)
            if kind == _IDENTIFIER:
                found = _varint(body, p, behind)
                ids += 1
            p = behind
        elif size > 0:
            p += size
        else:
            for _ in range(-size):
                p += 2 + u16(body, p)
    return found if ids == 1 else np.int64(0)


@compiled
def _payload_at(body: Any, p: Int, end: Int, flags: Int, v5: bool) -> Int:
    """Where a PUBLISH whose topic begins at `p` has its payload; or a fault."""
    qos = flags >> 1 & 3
    id_size = 2 if qos else 0
    size = u16(body, p) if end - p >= 2 else np.int64(0)
    id_at = p + 2 + size
    behind = id_at + id_size
    if qos == 3:
        behind = np.int64(-QOS)
    elif behind > end:
        behind = np.int64(-ENDS)
    elif qos and u16(body, id_at) == 0:
        behind = np.int64(-PACKET_ID)
    elif v5:  # an empty topic is one with an alias, so the properties say what is wrong
        behind = _skip_properties(body, behind, end)
    if behind >= 0 and size == 0:
        behind = np.int64(-TOPIC)
    return behind


@compiled
def _rest_at(body: Any, p: Int, end: Int) -> Int:
    """Behind type and length of the frame at `p`; `end` + 1 where they are not whole."""
    return _skip_varint(body, p + 1, end)


@compiled
def walk(body: Any, p: Int, end: Int, v5: bool, others: Any, state: Any) -> Int:
    """Step over whole frames from `p` on, and check those of type PUBLISH; 0 or a fault.

    Stops before a frame that is not whole or is faulty, and where `others` is full.

    others : (o, OTHER) int64, becomes the frames that are no PUBLISH
    state : (WALK,) int64
    """
    fault: Int = np.int64(0)
    count, published = 0, 0
    state[NEEDED] = 0
    while count < others.shape[0]:
        start = _rest_at(body, p, end)
        if start > end:
            if end - p >= _HEADER_BYTES_MAX:
                fault = np.int64(-LENGTH)
            break
        behind = start + _varint(body, p + 1, start)
        if behind > end:
            state[NEEDED] = behind - p
            break
        kind = np.int64(body[p])
        if kind >> 4 == PUBLISH:
            fault = min(_payload_at(body, start, behind, kind, v5), 0)
            if fault < 0:
                break
            published += 1
        else:
            others[count, 0], others[count, 1] = p, behind
            count += 1
        p = behind
    state[AT], state[OTHERS], state[PUBLISHED] = p, count, published
    return fault


@compiled
def count(body: Any) -> Int:
    """How many frames there are, whole ones or not."""
    frames = 0
    p, end = np.int64(0), np.int64(body.size)
    while p < end:
        frames += 1
        start = _rest_at(body, p, end)
        if start > end:
            break
        p = start + _varint(body, p + 1, start)
    return frames


@compiled
def read(
    body: Any, v5: bool, topic_at: Any, topic_len: Any, payload_at: Any, payload_len: Any,
    qos: Any, dup: Any, retain: Any, packet_id: Any, subscription: Any, digest: Any,
) -> Int:  # fmt: skip
    """Read whole PUBLISH frames, as many as `count` says, into rows; how many, or a fault.

    topic_at, topic_len, payload_at, payload_len, packet_id : (n,) int64
    qos : (n,) int8
    dup, retain : (n,) bool
    subscription : (n,) int64, the one identifier of the subscription; 0 where there is not one
    digest : (n,) uint32, where QoS > 0 CRC-32 of topic, a zero byte and payload; else 0
    """
    p, end = np.int64(0), np.int64(body.size)
    row = 0
    while p < end:
        start = _rest_at(body, p, end)
        behind = start + _varint(body, p + 1, start) if start <= end else start
        if behind > end or body[p] >> 4 != PUBLISH:
            return np.int64(-ENDS)
        flags = np.int64(body[p])
        at = _payload_at(body, start, behind, flags, v5)
        if at < 0:
            return at
        size = u16(body, start)
        topic_at[row], topic_len[row] = start + 2, size
        payload_at[row], payload_len[row] = at, behind - at
        qos[row] = flags >> 1 & 3
        dup[row] = flags & 8 != 0
        retain[row] = flags & 1 != 0
        if flags & 6:
            packet_id[row] = u16(body, start + 2 + size)
            code = crc32_zero(crc32(body, start + 2, start + 2 + size, NOTHING))
            digest[row] = crc32(body, at, behind, code)
        else:
            packet_id[row] = 0
            digest[row] = 0
        subscription[row] = 0
        if v5:
            properties = start + 2 + size + (2 if flags & 6 else 0)
            subscription[row] = _subscription(body, properties, at)
        row += 1
        p = behind
    return row
