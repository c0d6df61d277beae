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
    """Decodes the publications of one subscription; client handles are given by `add`."""

    def __init__(self) -> None:
        self._ids = np.empty(0, np.int32)
        self._text: list[bool] = []
        self._seen = np.empty(0, np.bool_)
        self._publishing_ns = 0
        self._sampling_ns = 0
        self._vouch = Vouch(0)

    def __len__(self) -> int:
        """How many handles were given."""
        return len(self._text)

    def add(self, signals: Sequence[tuple[int, bool]]) -> range:
        """New handles for signals, given as id and whether it is text."""
        first = len(self)
        self._ids = np.append(self._ids, np.array([number for number, _ in signals], np.int32))
        self._text += [is_text for _, is_text in signals]
        self._seen = np.append(self._seen, np.zeros(len(signals), np.bool_))
        return range(first, len(self))

    def set_intervals(self, publishing_ms: float, sampling_ms: float) -> None:
        """The intervals that the server granted; of several sampling intervals, the longest."""
        self._publishing_ns = int(publishing_ms * MS_NS)
        self._sampling_ns = max(self._sampling_ns, int(sampling_ms * MS_NS))
        self._vouch.allow(self._sampling_ns)

    def batch(self, result: ua.PublishResult, received_ns: int, is_early: bool = False) -> Batch:
        """One publication. It vouches for time unless it is early or the server has more to say."""
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
        alive_ns = 0 if is_early or result.MoreNotifications else self._vouch.until(published_ns)
        return Batch(self._ids[handles], times, values, status, received_ns, alive_ns, tuple(texts))

    def _hold_first(self, handles: Any, times: Any, published_ns: int) -> None:
        """Move the first notification of an item up to the time of its subscription.

        Of an item that was added later, never back to where its silence was vouched for.
        """
        first = ~self._seen[handles]
        earliest_ns = max(
            published_ns - self._publishing_ns - self._sampling_ns, self._vouch.vouched_ns
        )
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
