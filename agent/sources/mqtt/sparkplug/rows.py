"""Rows of samples as they are gathered from payloads and deaths, to be merged into a batch.

Enters: payloads with the table of their metrics; signals that are gone. Leaves: columns. Fails:
PayloadError for bytes that are no payload, which leaves no rows. A text that is none (not UTF-8,
longer than `TEXT_MAX`) is missing: NaN and Bad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.batch import BAD, BAD_NO_COMMUNICATION, Float64, Int32, Int64, UInt32
from agent.kernels.sparkplug import metrics as kernel
from agent.kernels.sparkplug import values
from agent.kernels.sparkplug.fields import fault_words
from agent.kernels.sparkplug.metrics import BOOLEAN, INT, LONG, STRING
from agent.sources import TEXT_MAX
from agent.sources.mqtt.sparkplug.born import PayloadError, Raw, Table, read_birth, table_of
from agent.sparkplug import ENGINEERING_UNIT, DataType, Metric, Payload, Property, encode

ROWS_KEPT_MAX: Final = 65_536
"""Room for so many rows is kept from one look to the next."""
_ROWS_MIN: Final = 1_024


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Samples as columns of equal length n, in order.

    message : (n,) int64, the message that brought each, as the host was given it; -1 where time did
    signal, time_ns, value, status : as in a `Batch`; of texts `value` is the index into `texts`
    """

    message: Int64
    signal: Int32
    time_ns: Int64
    value: Float64
    status: UInt32
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.signal)


@dataclass(frozen=True, slots=True)
class Read:
    """What a payload brought beside its rows: how many metrics of it are none, by cause.

    latest_ns : the latest time of its rows; 0 where it has none
    """

    unknown: int
    unsupported: int
    no_signal: int
    transient: int
    inexact: int
    latest_ns: int

    @property
    def skipped(self) -> int:
        """Metrics of the birth that brought no sample."""
        return self.unsupported + self.no_signal + self.transient


class Gathering:
    """Rows so far; `message` is what the next ones are said to come with.

    texts_before : texts are numbered from here on
    """

    def __init__(self) -> None:
        self.message = -1
        self.texts_before = 0
        self._counts = np.zeros(values.COUNTS, np.int64)
        self._special = np.empty((0, values.SPECIAL), np.int64)
        self._count = 0
        self._texts: dict[str, int] = {}
        self._columns(_ROWS_MIN)

    def compile(self) -> None:
        """Have the kernels compiled before messages wait for them."""
        unit = {ENGINEERING_UNIT: Property(DataType.STRING, "")}
        metric = Metric("A", DataType.STRING, "", 1, properties=unit)
        raw = np.frombuffer(encode(Payload(1, (metric,), 0)), np.uint8)
        whole = np.array([len(raw)], np.int64)
        kernel.heads(raw, np.zeros(1, np.int64), whole, np.empty((1, kernel.HEAD), np.int64))
        table = table_of(read_birth(raw, 0, len(raw), 1).metrics, lambda metric: (0, True))
        self.read(raw, 0, len(raw), 1, table, 0, 0)
        self.done()

    def __len__(self) -> int:
        return self._count

    def read(
        self, raw: Raw, at: int, end: int, metrics: int, table: Table, base_ns: int, since_ns: int
    ) -> Read:
        """Take the values of a payload, `raw[at:end]`, which has so many metrics.

        base_ns : the time of metrics that bring none
        since_ns : none is before this, but what is historical

        Raises PayloadError.
        """
        self._make_room(metrics)
        if metrics > len(self._special):
            self._special = np.empty((metrics, values.SPECIAL), np.int64)
        counts = self._counts
        counts[:] = 0
        row = values.take(
            raw, at, end, table.names, table.name_at, table.aliases, table.entries,
            base_ns, since_ns, self._count, self._signal, self._time_ns, self._value,
            self._status, self._special, counts,
        )  # fmt: skip
        if row < 0:
            raise PayloadError(fault_words(row, at))
        self._message[self._count : row] = self.message
        self._count = row
        said = counts.tolist()
        for special in self._special[: said[values.SPECIALS]].tolist():
            self._text(raw, *special)
        return Read(*said[: values.SPECIALS])

    def gone(self, signals: Int32, time_ns: int) -> None:
        """Say that these are out of reach from `time_ns` on."""
        start = self._count
        self._make_room(len(signals))
        self._count += len(signals)
        rows = slice(start, self._count)
        self._message[rows], self._signal[rows] = self.message, signals
        self._time_ns[rows], self._value[rows] = time_ns, math.nan
        self._status[rows] = BAD_NO_COMMUNICATION

    def done(self) -> Rows:
        """What was gathered since the last time."""
        rows = slice(0, self._count)
        found = Rows(
            self._message[rows].copy(), self._signal[rows].copy(), self._time_ns[rows].copy(),
            self._value[rows].copy(), self._status[rows].copy(), tuple(self._texts),
        )  # fmt: skip
        self._count = 0
        self._texts = {}
        if len(self._signal) > ROWS_KEPT_MAX:
            self._columns(ROWS_KEPT_MAX)
        return found

    def _columns(self, room: int) -> None:
        self._message = np.empty(room, np.int64)
        self._signal = np.empty(room, np.int32)
        self._time_ns = np.empty(room, np.int64)
        self._value = np.empty(room, np.float64)
        self._status = np.empty(room, np.uint32)

    def _make_room(self, rows: int) -> None:
        needed = self._count + rows
        if needed <= len(self._signal):
            return
        held = slice(0, self._count)
        message, signal, time_ns = self._message[held], self._signal[held], self._time_ns[held]
        value, status = self._value[held], self._status[held]
        self._columns(max(needed, 2 * len(self._signal)))
        self._message[held], self._signal[held], self._time_ns[held] = message, signal, time_ns
        self._value[held], self._status[held] = value, status

    def _text(self, raw: Raw, row: int, field: int, bits: int, at: int, datatype: int) -> None:
        text = _as_text(raw, field, bits, at, datatype)
        if text is None:
            self._value[row] = math.nan
            self._status[row] = max(int(self._status[row]), BAD)
        else:
            number = self.texts_before + len(self._texts)
            self._value[row] = self._texts.setdefault(text, number)


def _as_text(raw: Raw, field: int, bits: int, at: int, datatype: int) -> str | None:
    """A value as text, numbers as they are written; None where there is none."""
    if field == STRING:
        try:
            text = bytes(raw[at : at + bits]).decode()
        except UnicodeDecodeError:
            return None
        return text if len(text) <= TEXT_MAX else None
    if field == BOOLEAN or datatype == DataType.BOOLEAN:
        return "true" if bits else "false"
    if field in (INT, LONG) and datatype <= DataType.INT64:
        return str(values.signed(bits, datatype))
    if field in (INT, LONG):
        return str(bits & 0xFFFF_FFFF_FFFF_FFFF)
    number = float(values.number(field, bits, datatype))
    return repr(number) if math.isfinite(number) else None
