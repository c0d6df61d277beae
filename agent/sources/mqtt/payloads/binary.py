"""Binary payloads: numbers of one type, one after the other at a fixed rate.

Enters: bytes. Leaves: Readings. Fails: Unreadable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.batch import GOOD
from agent.config.mqtt.payload import BinaryConfig
from agent.sources.mqtt.payloads.reading import (
    EXACT_MAX,
    Readings,
    Unreadable,
    reading,
    spaced,
    waveform,
)


@dataclass(frozen=True, slots=True)
class BinaryReader:
    """Reads values of one type, `value * scale + offset`; a NaN among them stays one."""

    dtype: np.dtype[Any]
    skip_bytes: int
    scale: float
    offset: float
    rate_hz: float
    is_waveform: bool

    @classmethod
    def of(cls, config: BinaryConfig, is_waveform: bool) -> BinaryReader:
        """The reader of a type."""
        dtype = np.dtype(config.dtype).newbyteorder(config.byte_order)
        return cls(
            dtype, config.skip_bytes, config.scale, config.offset, config.rate_hz, is_waveform
        )

    def __call__(self, payload: bytes | bytearray, received_ns: int) -> Readings:
        """One waveform, or each value a reading; the last is of now. Raises Unreadable, TooMany."""
        raw = self._raw(payload)
        found = Readings()
        if self.dtype.kind in "iu" and self.dtype.itemsize == 8:
            found.inexact = int(np.count_nonzero((raw > EXACT_MAX) | (raw < -EXACT_MAX)))
        with np.errstate(over="ignore", invalid="ignore"):
            block = raw.astype(np.float64) * self.scale + self.offset
        if self.is_waveform:
            found.take(waveform(block, self.rate_hz, received_ns, None, GOOD, ""))
            return found
        times = spaced(received_ns, self.rate_hz, len(block))
        for value, time_ns in zip(block, times, strict=True):
            found.take(reading(None, time_ns, None if math.isnan(value) else float(value)))
        return found

    def _raw(self, payload: bytes | bytearray) -> np.ndarray[Any, np.dtype[Any]]:
        size = len(payload) - self.skip_bytes
        if size <= 0:
            header = f" behind the {self.skip_bytes:,} that are skipped" if self.skip_bytes else ""
            raise Unreadable(f"it has {len(payload):,} bytes: there is no value{header}")
        if size % self.dtype.itemsize:
            raise Unreadable(
                f"{size:,} bytes are no whole number of {self.dtype.name} values, of "
                f"{self.dtype.itemsize} bytes each"
            )
        return np.frombuffer(payload, self.dtype, offset=self.skip_bytes)
