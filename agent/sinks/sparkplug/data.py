"""The bytes of a metric in NDATA and DDATA: an alias, a time, a value, and no name.

`agent.sparkplug.encode` says the same and is what births are written with; at 9 us a metric it is
too slow for what comes every second. Here it is 1 us: what does not change is kept ready. Tests
compare the two.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from agent.sparkplug import (
    QUALITY,
    DataType,
    Metric,
    Payload,
    Property,
    PropertySet,
    encode,
    varint,
)

STALE: Final = 500
UNCERTAIN_GOOD: Final = 192
BAD: Final = 0
"""Sparkplug 6.4.9.1 knows no Uncertain: it is Good, with its OPC UA status beside it."""

_DOUBLE: Final = struct.Struct("<d")
_HISTORICAL: Final = b"\x28\x01"
_NULL: Final = b"\x38\x01"
_NO_CONNECTION: Final = frozenset({0x8005, 0x8031, 0x8032, 0x808A, 0x80AD, 0x80AE, 0x800A})
"""OPC UA: BadCommunicationError, BadNoCommunication, BadWaitingForInitialData, BadNotConnected,
BadDisconnect, BadConnectionClosed, BadTimeout (the upper half of the code)."""

NO_DATA: Final = -1
"""In place of a status: nothing was heard."""


def time_piece(time_ms: int) -> bytes:
    """A metric's timestamp."""
    return b"\x18" + varint(time_ms)


def alias_piece(alias: int) -> bytes:
    """A metric's alias."""
    return b"\x10" + varint(alias)


def datatype_piece(datatype: DataType) -> bytes:
    """A metric's data type."""
    return b"\x20" + varint(datatype)


def metric_piece(
    alias: bytes, time: bytes, value: bool | int | float | str | None, historical: bool, status: int
) -> bytes:
    """A metric as a payload holds it.

    alias, time : their pieces; behind the alias may be that of the data type
    status : OPC UA's, 0 is Good
    """
    head = alias + time
    if historical:
        head += _HISTORICAL
    if value is None:
        head += _NULL
    if status:
        head += _properties_piece(status)
    if type(value) is float:
        head += b"\x69" + _DOUBLE.pack(value)
    elif value is True or value is False:
        head += b"\x70\x01" if value else b"\x70\x00"
    elif type(value) is int:
        head += b"\x58" + varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    elif value is not None:
        text = value.encode()  # type: ignore[union-attr]
        head += b"\x7a" + varint(len(text)) + text
    size = len(head)
    return (b"\x12%c" % size if size < 0x80 else b"\x12" + varint(size)) + head


def quality(status: int) -> PropertySet:
    """What a metric says of its quality: nothing where it is Good."""
    if not status:
        return {}
    if status == NO_DATA:
        return {QUALITY: Property(DataType.INT32, STALE)}
    code = STALE if status >> 16 in _NO_CONNECTION else BAD if status >> 31 else UNCERTAIN_GOOD
    return {
        QUALITY: Property(DataType.INT32, code), "status": Property(DataType.INT64, status)
    }  # fmt: skip


@lru_cache(maxsize=1024)
def _properties_piece(status: int) -> bytes:
    metric = Metric(None, DataType.DOUBLE, None, properties=quality(status))
    block = encode(Payload(None, [metric]), datatypes=False)
    return block[2:].removeprefix(_NULL)
