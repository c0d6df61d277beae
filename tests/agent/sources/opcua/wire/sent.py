"""What a server sends, as asyncua encodes it, and what comes of it."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from agent.signals import Kind
from agent.sources.opcua.wire import Decoder, Items, publication
from tests.agent.kernels.opcua.written import string

TYPE = ua.VariantType
TIME: Any = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
TIME_NS = 1_767_323_045_678_901_000
RECEIVED_NS = TIME_NS + 10**9
BAD_SENSOR = 0x808C_0000
LONG_AGO = datetime(1601, 1, 1, tzinfo=UTC)

Sent = tuple[int, ua.DataValue]


def data_value(
    value: Any, variant_type: ua.VariantType = TYPE.Double, **parts: Any
) -> ua.DataValue:
    parts.setdefault("SourceTimestamp", TIME)
    return ua.DataValue(ua.Variant(value, variant_type), **parts)


def change(*sent: Sent) -> ua.DataChangeNotification:
    return ua.DataChangeNotification(
        MonitoredItems=[ua.MonitoredItemNotification(handle, value) for handle, value in sent]
    )


def message(*notifications: Any) -> ua.NotificationMessage:
    return ua.NotificationMessage(9, TIME, list(notifications))


def published(*notifications: Any, **parts: Any) -> bytes:
    parts.setdefault("MoreNotifications", False)
    result = ua.PublishResult(7, NotificationMessage=message(*notifications), **parts)
    body: bytes = struct_to_binary(ua.PublishResponse(Parameters=result))
    return body


def variant(raw: bytes, tail: bytes = b"") -> bytes:
    """An item of handle 0 as its Variant's bytes, and what follows that."""
    mask = 1 | (2 if tail else 0)
    return struct.pack("<IB", 0, mask) + raw + tail


def of_items(*items: bytes) -> bytes:
    """A publication of items as bytes, published at TIME."""
    body = struct.pack("<i", len(items)) + b"".join(items) + b"\xff\xff\xff\xff"
    whole = published(change((0, data_value(1.0))))
    head, _ = whole.split(b"\x01\x00\x2b\x03\x01")
    return head + b"\x01\x00\x2b\x03\x01" + string(body) + bytes(8)


def read(body: bytes, kinds: Sequence[Kind] = ("analog",)) -> Items:
    decoder = Decoder()
    decoder.add(kinds)
    return decoder.items([publication(body)], RECEIVED_NS)


def read_one(value: ua.DataValue, kind: Kind = "analog") -> Items:
    return read(published(change((0, value))), [kind])


def text_of(items: Items) -> str | None:
    (value,) = items.value.tolist()
    return None if math.isnan(value) else items.texts[int(value)]


def history_of(*results: ua.HistoryReadResult) -> bytes:
    body: bytes = struct_to_binary(ua.HistoryReadResponse(Results=list(results)))
    return body
