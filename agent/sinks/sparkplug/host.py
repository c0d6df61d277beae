"""What hosts tell an edge node: whether the primary one is there, and that births are wanted.

Enters: payloads of STATE and NCMD. Leaves: a state, a yes or no. Nothing fails: what cannot be read
says nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from agent.sparkplug import REBIRTH, state_topic

_NAME, _BOOLEAN = 1, 14
_METRIC = 2


class PrimaryHost:
    """Whether the primary host is online, after its STATE (Sparkplug 5.4).

    topics : where it says so: of 3.0, and as before it, where the payload was a word
    online : None while nothing was heard
    """

    def __init__(self, host: str) -> None:
        self.topics = (state_topic(host), f"STATE/{host}")
        self.online: bool | None = None
        self._time_ms: float | None = None

    def hear(self, topic: str, payload: bytes) -> None:
        """Take up what it says; older than what it said before, it says nothing."""
        if topic == self.topics[1]:
            if self._time_ms is None and payload in (b"ONLINE", b"OFFLINE"):
                self.online = payload == b"ONLINE"
            return
        try:
            said = json.loads(payload)
            online, time_ms = said["online"], said["timestamp"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        if not isinstance(online, bool) or type(time_ms) not in (int, float):
            return
        if not math.isfinite(time_ms):  # nothing would be newer
            return
        if topic == self.topics[0] and (self._time_ms is None or time_ms >= self._time_ms):
            self.online, self._time_ms = online, time_ms


def wants_rebirth(payload: bytes) -> bool:
    """Whether an NCMD asks for new births (Sparkplug 5.17)."""
    try:
        for number, metric in _fields(payload):
            if number == _METRIC and isinstance(metric, bytes):
                found = dict(_fields(metric))
                if found.get(_NAME) == REBIRTH.encode() and found.get(_BOOLEAN) == 1:
                    return True
    except (IndexError, ValueError):
        pass
    return False


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message. Raises IndexError or ValueError where it is none."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire_type, value = tag & 7, 0
        if wire_type == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire_type == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}.get(wire_type, len(data) + 1)
        if at + length > len(data):
            raise ValueError("a field is longer than its message")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a number is longer than 64 bits")
