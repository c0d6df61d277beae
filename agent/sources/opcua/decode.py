"""From a PublishResult, as asyncua decodes it, to a batch.

The loop over notifications is Python's, as is asyncua's decoder before it. A later version
decodes the response's bytes by a kernel instead; what it cannot decode comes here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
from asyncua import ua

from agent.batch import GOOD, Batch
from agent.signals import Signal
from agent.sources import TEXT_MAX
from agent.sources.vouch import Vouch

MS_NS: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def time_ns(moment: datetime | None) -> int | None:
    """A datetime as UTC nanoseconds; one without zone is UTC, as OPC UA's are.

    None where there is no time: absent, or not from 1970 to 2262, as with servers that send 1601
    for "unknown". OPC UA carries 100 ns; asyncua cuts them to microseconds.
    """
    if moment is None:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since_ns = (aware - _EPOCH) // _MICROSECOND * 1000
    return since_ns if 0 < since_ns < 2**63 else None


class Decoder:
    """Decodes the publications of one subscription. Client handle i is `signals[i]`."""

    def __init__(self, signals: Sequence[tuple[int, Signal]]) -> None:
        self._ids = np.array([number for number, _ in signals], np.int32)
        self._text = [signal.kind == "text" for _, signal in signals]
        self._seen = np.zeros(len(signals), np.bool_)
        self._publishing_ns = 0
        self._sampling_ns = 0
        self._vouch = Vouch(0)

    def set_intervals(self, publishing_ms: float, sampling_ms: float) -> None:
        """The intervals that the server granted."""
        self._publishing_ns = int(publishing_ms * MS_NS)
        self._sampling_ns = int(sampling_ms * MS_NS)
        self._vouch = Vouch(self._sampling_ns)

    def batch(self, result: ua.PublishResult, received_ns: int) -> Batch:
        """One publication. It vouches for time unless the server has more to say."""
        message = result.NotificationMessage
        published_ns = time_ns(message.PublishTime) or received_ns
        items = [
            item
            for notification in message.NotificationData or ()
            if isinstance(notification, ua.DataChangeNotification)
            for item in notification.MonitoredItems
        ]
        handles = np.array([item.ClientHandle for item in items], np.int64)
        times = np.array([_sample_ns(item.Value, published_ns) for item in items], np.int64)
        self._hold_first(handles, times, published_ns)
        texts: list[str] = []
        values = np.array(
            [self._value(item.ClientHandle, item.Value, texts) for item in items], np.float64
        )
        status = np.array([_status(item.Value) for item in items], np.uint32)
        self._vouch.take(times, published_ns)
        alive_ns = 0 if result.MoreNotifications else self._vouch.until(published_ns)
        return Batch(self._ids[handles], times, values, status, received_ns, alive_ns, tuple(texts))

    def _hold_first(self, handles: Any, times: Any, published_ns: int) -> None:
        """Move the first notification of an item up to the time of its subscription."""
        first = ~self._seen[handles]
        earliest_ns = published_ns - self._publishing_ns - self._sampling_ns
        times[first] = np.maximum(times[first], earliest_ns)
        self._seen[handles] = True

    def _value(self, handle: int, data: ua.DataValue, texts: list[str]) -> float:
        value = None if data.Value is None else data.Value.Value
        if not self._text[handle]:
            return float(value) if isinstance(value, bool | int | float) else math.nan
        text = _text(value)
        if text is None:
            return math.nan
        texts.append(text)
        return float(len(texts) - 1)


def _sample_ns(data: ua.DataValue, published_ns: int) -> int:
    return time_ns(data.SourceTimestamp) or time_ns(data.ServerTimestamp) or published_ns


def _status(data: ua.DataValue) -> int:
    return GOOD if data.StatusCode is None else int(data.StatusCode.value)


def _text(value: object) -> str | None:
    """A scalar as text; None for arrays, bytes and structures, and for what is too long."""
    if isinstance(value, ua.LocalizedText):
        value = value.Text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | datetime | UUID):
        text = str(value)
        return text if len(text) <= TEXT_MAX else None
    return None
