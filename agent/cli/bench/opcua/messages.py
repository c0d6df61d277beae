"""PublishResponses whose notifications are encoded beforehand (OPC 10000-6, 5.2; 10000-4, 5.14.5).

Enters: monitored items. Leaves: bodies of responses, from the type id on. Sending one costs what
patching its times and numbers costs, however many notifications it carries. `check` compares the
bytes with asyncua's encoder; it raises AndonError where they differ.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from agent.errors import AndonError

TICK_NS: Final = 100
EPOCH_TICKS: Final = 116_444_736_000_000_000
"""1970 in OPC UA's ticks, which count from 1601."""
STEP_TICKS: Final = 10
"""Between the source times of a message's notifications: a microsecond."""
VALUE_STEP: Final = 0.25
UNCERTAIN: Final = 0x4093_0000
"""UncertainSensorNotAccurate, of every hundredth node."""
UNCERTAIN_EVERY: Final = 100

_RESPONSE: Final = struct.Struct("<4sqIIBi3s")
"""Type id; response header: time, request handle, result, diagnostics, strings, more."""
_PUBLISHED: Final = struct.Struct("<Ii?Iqi")
"""Subscription, available numbers, more to come, sequence number, publish time, notifications."""
_DATA_CHANGE: Final = struct.Struct("<4sBii")
"""Type id, encoding, length; number of monitored items."""
_PUBLISH_RESPONSE: Final = b"\x01\x00" + struct.pack("<H", 829)
_DATA_CHANGE_TYPE: Final = b"\x01\x00" + struct.pack("<H", 811)
_NONE: Final = struct.pack("<i", 0)
_HEAD: Final = _RESPONSE.size + _PUBLISHED.size
COUNT_AT: Final = 24 + _HEAD + 9
"""Where in its first frame a message with notifications has their number, after 24 bytes that are
the frame's own."""
_BOTH: Final = np.dtype(
    [
        ("handle", "<u4"), ("has", "u1"), ("type", "u1"), ("value", "<f8"), ("status", "<u4"),
        ("source_time", "<i8"), ("server_time", "<i8"),
    ]
)  # fmt: skip
"""A MonitoredItemNotification of a Double with status and times."""
_SOURCE: Final = np.dtype(_BOTH.descr[:-1])
_HAS_BOTH, _HAS_SOURCE, _DOUBLE = 0x0F, 0x07, 11

Item = tuple[int, int]
"""Client handle and the number of its node."""


def ticks(time_ns: int) -> int:
    """A time as OPC UA writes it."""
    return EPOCH_TICKS + time_ns // TICK_NS


def value_of(node: int) -> float:
    """The value of a node, always the same."""
    return node * VALUE_STEP


def status_of(node: int) -> int:
    """The status of a node, always the same."""
    return UNCERTAIN if node % UNCERTAIN_EVERY == UNCERTAIN_EVERY - 1 else 0


class Message:
    """A PublishResponse with one notification of each of these items.

    Source times are `STEP_TICKS` apart, the last so long before the publish time.
    """

    def __init__(self, items: Sequence[Item], has_server_time: bool) -> None:
        n, kind = len(items), _BOTH if has_server_time else _SOURCE
        begin = _HEAD + _DATA_CHANGE.size
        self._bytes = bytearray(begin + n * kind.itemsize + len(_NONE))
        length = len(self._bytes) - _HEAD - _DATA_CHANGE.size + 4
        _DATA_CHANGE.pack_into(self._bytes, _HEAD, _DATA_CHANGE_TYPE, 1, length, n)
        self._rows = np.frombuffer(self._bytes, kind, n, begin)
        nodes = [node for _, node in items]
        self._rows["handle"] = [handle for handle, _ in items]
        self._rows["has"] = _HAS_BOTH if has_server_time else _HAS_SOURCE
        self._rows["type"] = _DOUBLE
        self._rows["value"] = [value_of(node) for node in nodes]
        self._rows["status"] = [status_of(node) for node in nodes]
        self._ago = np.arange(n, 0, -1) * STEP_TICKS

    def __len__(self) -> int:
        return len(self._rows)

    def body(self, request: int, subscription: int, number: int, now: int, acks: int) -> bytes:
        """The response to a request.

        request : its handle
        number : the sequence number
        now : the publish time, in ticks
        acks : how many acknowledgements the request brought; all are taken
        """
        _pack_head(self._bytes, request, subscription, number, now, 1)
        np.subtract(now, self._ago, out=self._rows["source_time"])
        if self._rows.dtype is _BOTH:
            self._rows["server_time"] = now
        return b"".join((self._bytes, _tail(acks)))


def keep_alive(request: int, subscription: int, number: int, now: int, acks: int) -> bytes:
    """The response that says nothing but that the subscription lives; arguments as of `body`."""
    head = bytearray(_HEAD)
    _pack_head(head, request, subscription, number, now, 0)
    return bytes(head) + _tail(acks)


def _pack_head(
    into: bytearray, request: int, subscription: int, number: int, now: int, notifications: int
) -> None:
    _RESPONSE.pack_into(into, 0, _PUBLISH_RESPONSE, now, request, 0, 0, 0, b"\0\0\0")
    _PUBLISHED.pack_into(
        into, _RESPONSE.size, subscription, 0, False, number, now, notifications
    )  # fmt: skip


def _tail(acks: int) -> bytes:
    """Results, all good, and no diagnostics."""
    return struct.pack("<i", acks) + bytes(4 * acks) + _NONE


def check(n: int) -> None:
    """Compare with asyncua's encoder, messages of so many items and the keep-alive."""
    now = ticks(time.time_ns()) // STEP_TICKS * STEP_TICKS  # asyncua's times are microseconds
    rest = (5, 6, 4_000_000_000, now, 2)
    pairs = [(keep_alive(*rest), _by_asyncua([], True, *rest))]
    for both in (True, False):
        items = [(7 + row, row) for row in range(n)]
        pairs.append((Message(items, both).body(*rest), _by_asyncua(items, both, *rest)))
    if any(ours != theirs for ours, theirs in pairs):
        raise AndonError(
            "the bench server's bytes are not those of asyncua's encoder",
            "nothing was measured; is another version of asyncua installed?",
        )


def _by_asyncua(
    items: Sequence[Item], both: bool, request: int, subscription: int, number: int, now: int,
    acks: int,
) -> bytes:  # fmt: skip
    response = ua.PublishResponse()
    response.ResponseHeader.Timestamp = _moment(now)
    response.ResponseHeader.RequestHandle = ua.IntegerId(request)
    result, message = response.Parameters, response.Parameters.NotificationMessage
    result.SubscriptionId, result.MoreNotifications = ua.IntegerId(subscription), False
    result.Results = [ua.StatusCode()] * acks
    message.SequenceNumber, message.PublishTime = ua.Counter(number), _moment(now)
    notifications = [
        ua.MonitoredItemNotification(
            ua.IntegerId(handle),
            ua.DataValue(
                ua.Variant(value_of(node), ua.VariantType.Double),
                ua.StatusCode(ua.UInt32(status_of(node))),
                _moment(now - (len(items) - row) * STEP_TICKS),
                _moment(now) if both else None,
            ),
        )
        for row, (handle, node) in enumerate(items)
    ]
    if notifications:
        message.NotificationData = [ua.DataChangeNotification(notifications)]
    return bytes(struct_to_binary(response))


def _moment(now: int) -> ua.DateTime:
    since = timedelta(microseconds=(now - EPOCH_TICKS) // STEP_TICKS)
    return ua.DateTime.fromtimestamp(0, UTC) + since
