"""What the kernels do not know of values: asyncua's decoder, one Variant at a time.

Enters: the bytes of a Variant. Leaves: Python's value of it, and what that is as a number, a text
or a block. Fails: `Undecodable`, whatever the bytes are. What a text is, is decided here for the
kernels too (`text_of`).

asyncua believes lengths and counts: a negative length takes it backwards, an array of nulls is made
as long as it claims. So it reads from `Guarded` bytes, which refuse both.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua.ua_binary import variant_from_binary

from agent.batch import Float64, status_name
from agent.kernels.opcua import reading
from agent.sources import TEXT_MAX

BYTES_MAX: Final = 256 << 10
"""A longer value is not decoded: asyncua makes up to 300 bytes of each of its bytes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH_1601: Final = datetime(1601, 1, 1, tzinfo=UTC)
_NO_TIMES: Final = (_EPOCH_1601, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
_FORMS: Final = {
    type_id: f"<{letter}" for type_id, letter in enumerate("?bBhHiIqQfd", reading.BOOLEAN)
}
"""Of number types, by their type's number."""
_NULLS: Final = (b"\x80", b"\xc0")


class Undecodable(Exception):
    """asyncua's decoder cannot read this Variant."""


class Guarded(Buffer):
    """Bytes that go forward only, and give no array of nulls that is longer than they are."""

    _nulls = False

    def read(self, size: int) -> bytes:
        """The next `size` bytes. Raises NotEnoughData."""
        if size < 0:
            raise NotEnoughData(f"a length of {size}")
        data: bytes = super().read(size)
        if self._nulls and size == 4 and int.from_bytes(data, "little", signed=True) > len(self):
            raise NotEnoughData("an array of nulls, longer than the bytes")
        self._nulls = data in _NULLS
        return data

    def copy(self, size: int = -1) -> Guarded:
        """As many of the next bytes, as guarded."""
        return Guarded(self._data, self._cur_pos, len(self) if size < 0 else min(size, len(self)))


def decoded(body: bytes, start: int, end: int) -> tuple[object, int]:
    """The value of the Variant that begins at `start`, and where it ends, `end` at most.

    Raises Undecodable.
    """
    data = Guarded(body, start, min(end - start, BYTES_MAX))
    try:
        value = variant_from_binary(data).Value
    except Exception as error:  # asyncua lets through whatever its parts raise
        raise Undecodable(f"{type(error).__name__}: {error}") from error
    return _inner(value), data.cur_pos


def time_ns(moment: datetime | None) -> int | None:
    """A datetime as UTC nanoseconds; one without zone is UTC, as OPC UA's are.

    None where there is no time: absent, or not from 1970 to 2262, as with servers that send 1601
    for "unknown". OPC UA carries 100 ns; asyncua cuts them to microseconds.
    """
    if moment is None:
        return None
    since_ns = (_aware(moment) - _EPOCH) // _MICROSECOND * 1000
    return since_ns if 0 < since_ns < 2**63 else None


def number(value: object) -> float:
    """A scalar as a number: DateTime in s since 1970, StatusCode as its code; else NaN."""
    if isinstance(value, ua.StatusCode):
        return float(value.value)
    if isinstance(value, datetime):
        aware = _aware(value)
        return math.nan if aware in _NO_TIMES else (aware - _EPOCH) / timedelta(seconds=1)
    return float(value) if isinstance(value, bool | int | float) else math.nan


def text(value: object) -> str | None:
    """A scalar as text; None for arrays, bytes and structures, and for what is too long."""
    if isinstance(value, ua.LocalizedText):
        value = value.Text
    elif isinstance(value, ua.QualifiedName):
        value = value.Name
    elif isinstance(value, ua.XmlElement):
        value = value.Value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, ua.StatusCode):
        return status_name(value.value)
    if isinstance(value, datetime):
        return _rfc3339((_aware(value) - _EPOCH_1601) // _MICROSECOND * 10)
    if not isinstance(value, str | int | float | UUID):
        return None
    said = str(value)
    if len(said) > TEXT_MAX:
        return None
    return said.encode(errors="surrogateescape").decode(errors="replace")


def text_of(type_id: int, raw: bytes) -> str | None:
    """The text of a scalar whose bytes a kernel found; None where `text` has none."""
    if type_id == reading.DATE_TIME:
        return _rfc3339(int.from_bytes(raw, "little", signed=True))
    if type_id == reading.GUID:
        return str(UUID(bytes_le=raw))
    if type_id == reading.STATUS_CODE:
        return status_name(int.from_bytes(raw, "little"))
    form = _FORMS.get(type_id)
    if form is not None:
        return text(struct.unpack(form, raw)[0])
    said = raw.decode(errors="replace")
    return said if len(said) <= TEXT_MAX else None


def block(value: object) -> Float64 | None:
    """An array of numbers; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    values = [_inner(one) for one in value]
    if not all(isinstance(one, bool | int | float) for one in values):
        return None
    return np.array(values, np.float64)


def _rfc3339(ticks: int) -> str | None:
    """A DateTime, to the 100 ns that it carries; None where it says that there is none."""
    if not 0 < ticks < reading.TICKS_NEVER:
        return None
    seconds, fraction = divmod(ticks, 10_000_000)
    moment = _EPOCH_1601 + timedelta(seconds=seconds)
    digits = f".{fraction:07d}".rstrip("0") if fraction else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{digits}Z"


def _inner(value: object) -> object:
    """What Variants and DataValues within each other hold."""
    while isinstance(value, ua.Variant | ua.DataValue):
        value = value.Value
    return value


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
