"""What detectors say: an episode opened, got worse, or is over. One row each, of dtype EVENT."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

LEVEL: Final = 0
STUCK: Final = 1
DROPOUT: Final = 2
BAD_STATUS: Final = 3
DETECTORS: Final = ("level", "stuck", "dropout", "bad_status")
"""Detector names, by the number in an event."""

OPENED: Final = 0
RAISED: Final = 1
CLOSED: Final = 2

WARNING_RATIO: Final = 1.0
ALARM_RATIO: Final = 2.0
"""An episode opens when evidence reaches its limit and is an alarm at twice the limit."""

EVENT: Final = np.dtype(
    [
        ("signal", np.int32),
        ("detector", np.int8),
        ("what", np.int8),
        ("start_ns", np.int64),  # of the episode; never moves
        ("time_ns", np.int64),  # when this was noticed; of CLOSED, when it was over
        ("ratio", np.float64),  # evidence over its limit
        ("value", np.float64),
        ("expected", np.float64),
        ("low", np.float64),
        ("high", np.float64),
    ],
    align=True,
)

OUT_ROWS: Final = 1024

Array = npt.NDArray[Any]


@numba.njit(cache=True, nogil=True)
def say(
    row: Any, signal: int, detector: int, what: int, start_ns: int, time_ns: int, ratio: float,
    value: float, expected: float, low: float, high: float,
) -> None:  # fmt: skip
    """Fill one row."""
    row.signal = signal
    row.detector = detector
    row.what = what
    row.start_ns = start_ns
    row.time_ns = time_ns
    row.ratio = ratio
    row.value = value
    row.expected = expected
    row.low = low
    row.high = high
