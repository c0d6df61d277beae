"""Messages as a server sends them, by asyncua's encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

Item = tuple[int, Any, int, int]
"""Client handle, value, source time in nanoseconds, status."""


def moment(time_ns: int) -> Any:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)


def message(
    sequence: int, items: Sequence[Item] = (), published_ns: int = 0
) -> ua.NotificationMessage:
    """A keep-alive where there are no items."""
    one = ua.NotificationMessage(
        SequenceNumber=ua.UInt32(sequence), PublishTime=moment(published_ns or time.time_ns())
    )
    if items:
        one.NotificationData = [
            ua.DataChangeNotification(
                MonitoredItems=[
                    ua.MonitoredItemNotification(
                        ClientHandle=ua.UInt32(handle),
                        Value=ua.DataValue(
                            ua.Variant(value), ua.StatusCode(ua.UInt32(status)), moment(time_ns)
                        ),
                    )
                    for handle, value, time_ns, status in items
                ]
            )
        ]
    return one


def response(
    sequence: int,
    items: Sequence[Item] = (),
    *,
    published_ns: int = 0,
    subscription: int = 7,
    more: bool = False,
) -> bytes:
    """A PublishResponse."""
    one = ua.PublishResponse()
    one.Parameters.SubscriptionId = ua.UInt32(subscription)
    one.Parameters.MoreNotifications = more
    one.Parameters.NotificationMessage = message(sequence, items, published_ns)
    return struct_to_binary(one)


def republished(sequence: int, items: Sequence[Item]) -> bytes:
    """A RepublishResponse."""
    return struct_to_binary(ua.RepublishResponse(NotificationMessage=message(sequence, items)))
