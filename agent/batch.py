"""The one type that flows through the agent: a `Batch` of samples in columns.

A source makes it, kernels read it, nothing changes it. Missing is NaN plus a status code, never
0. Time is UTC in integer nanoseconds. `alive_until_ns` is what the source vouches for: signals of
that source without a newer sample were unchanged until then, so it alone advances time. Silence
inside it means that the last value still holds; silence beyond it is a gap. A batch may be empty
and still advance time: keep-alives and heartbeats are such batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt32 = npt.NDArray[np.uint32]
Float64 = npt.NDArray[np.float64]

GOOD: Final = 0x0000_0000
BAD: Final = 0x8000_0000
BAD_NO_COMMUNICATION: Final = 0x8031_0000
BAD_WAITING_FOR_INITIAL_DATA: Final = 0x8032_0000
"""OPC UA StatusCodes (OPC 10000-4, table 180). The top two bits are the severity."""

AHEAD_MAX_NS: Final = 60_000_000_000
BEHIND_MAX_NS: Final = 30 * 86_400_000_000_000
"""A time so far ahead of its arrival, or behind it, is that of a wrong clock."""

SEVERITY_SHIFT: Final = 30
"""`status >> SEVERITY_SHIFT` is 0 for Good, 1 for Uncertain, 2 or 3 for Bad."""

_NAMES: Final = {
    0x8031_0000: "BadNoCommunication",
    0x8032_0000: "BadWaitingForInitialData",
    0x8089_0000: "BadConfigurationError",
    0x808A_0000: "BadNotConnected",
    0x808B_0000: "BadDeviceFailure",
    0x808C_0000: "BadSensorFailure",
    0x808D_0000: "BadOutOfService",
    0x8034_0000: "BadNodeIdUnknown",
    0x800A_0000: "BadTimeout",
}


def status_name(status: int) -> str:
    """A StatusCode as people say it: its name in OPC 10000-6, annex A.2, with its number."""
    severity = ("Good", "Uncertain", "Bad", "Bad")[status >> SEVERITY_SHIFT]
    return f"{_NAMES.get(status & 0xFFFF_0000, severity)} (0x{status:08X})"


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A block of values at a fixed rate, that arrived as one row of a batch.

    row : of the batch; its `value` is the block's root mean square, its time that of values[0]
    values : (m,) float64, in the signal's unit, m > 0
    """

    row: int
    rate_hz: float
    values: Float64


def root_mean_square(block: Float64) -> float:
    """The value of a block, (m,) with m > 0; NaN or infinite where a value of it makes it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(block * block)))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one source, in order of arrival, as columns of equal length n.

    signal : (n,) int32, ids of the signal table
    time_ns : (n,) int64, source time, UTC
    value : (n,) float64, in the signal's unit; NaN where there is none; for a signal of kind `text`
        the index into `texts`
    status : (n,) uint32, OPC UA StatusCode, 0 is Good
    received_ns : when the gateway received it, UTC
    alive_until_ns : until when the source vouches for silence, in source time; 0 vouches for
        nothing
    texts : the batch's own dictionary of text values
    waveforms : the blocks of signals of kind `waveform`, each at its row, in order of rows

    Raises ValueError where columns differ in length or in type: a programmer's mistake.
    """

    signal: Int32
    time_ns: Int64
    value: Float64
    status: UInt32
    received_ns: int
    alive_until_ns: int = 0
    texts: tuple[str, ...] = field(default=())
    waveforms: tuple[Waveform, ...] = field(default=())

    def __post_init__(self) -> None:
        n = self.signal.shape
        for name, dtype in _COLUMNS.items():
            column: npt.NDArray[np.generic] = getattr(self, name)
            if column.shape != n or column.ndim != 1 or column.dtype != dtype:
                raise ValueError(
                    f"Batch.{name} is {column.dtype}{column.shape}; it must be {dtype}{n}"
                )

    def __len__(self) -> int:
        return int(self.signal.shape[0])

    def where(self, rows: npt.NDArray[np.bool_]) -> Batch:
        """The rows that are True in `rows`, (n,) bool."""
        kept = tuple(wave for wave in self.waveforms if rows[wave.row])
        return replace(
            self, signal=self.signal[rows], time_ns=self.time_ns[rows],
            value=self.value[rows], status=self.status[rows],
            waveforms=tuple(
                replace(wave, row=int(np.count_nonzero(rows[: wave.row]))) for wave in kept
            ),
        )  # fmt: skip

    def slice(self, start: int, stop: int) -> Batch:
        """Rows [start, stop) as views. Only the last slice of a batch may vouch for its time."""
        rows = slice(start, stop)
        alive = self.alive_until_ns if stop >= len(self) else 0
        return Batch(
            self.signal[rows], self.time_ns[rows], self.value[rows], self.status[rows],
            self.received_ns, alive, self.texts,
            tuple(
                replace(wave, row=wave.row - start)
                for wave in self.waveforms
                if start <= wave.row < stop
            ),
        )  # fmt: skip


_COLUMNS: Final = {
    "signal": np.dtype(np.int32),
    "time_ns": np.dtype(np.int64),
    "value": np.dtype(np.float64),
    "status": np.dtype(np.uint32),
}


def empty(received_ns: int, alive_until_ns: int) -> Batch:
    """A batch without samples: it only advances time."""
    return Batch(
        np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64),
        np.empty(0, np.uint32), received_ns, alive_until_ns,
    )  # fmt: skip
