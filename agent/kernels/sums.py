"""The sums of one window, and how a value that holds for a while enters them.

    good = T / every        T = time in the window covered by a Good value
    mean = sum(v dt) / T    std = sqrt(sum((v - mean)^2 dt) / T)
    min, max, first, last over the instants covered by a Good value
    increase = sum of the counter's steps; a step down is a reset (+v), or a roll-over where the
               counter stood in the last tenth below 2^16 or 2^32 and now is in the first tenth

A value holds from its time to the next sample's, at most `hold_ns` (0: as long as the source
vouches); what is not covered is a gap. The sums run by West (1979), "Updating mean and variance
estimates", weights being durations. Missing is NaN: it covers nothing, and counts in `n`.

Both the open window (`windows.py`) and those made anew (`history.py`) are made by these functions
from the same samples in the same order, so they are equal bit by bit. Memory: 152 B a signal.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

ANALOG: Final = 0
COUNTER: Final = 1
DISCRETE: Final = 2
TEXT: Final = 3
WAVEFORM: Final = 4
"""As analog: its values are the RMS of its blocks."""

STATE: Final = np.dtype(
    [
        ("every_ns", np.int64),
        ("hold_ns", np.int64),
        ("start_ns", np.int64),  # of the window; meaningless until `begun`
        ("mark_ns", np.int64),  # the sums are complete up to here
        ("sample_ns", np.int64),  # time of the newest sample
        ("n", np.int64),
        ("value", np.float64),  # in force since mark_ns
        ("covered_ns", np.float64),
        ("mean", np.float64),
        ("m2", np.float64),
        ("min", np.float64),
        ("max", np.float64),
        ("first", np.float64),
        ("last", np.float64),
        ("increase", np.float64),
        ("increase_before", np.float64),  # without the newest sample, should it be said again
        ("counted", np.float64),  # the counter's newest Good value, NaN before the first
        ("counted_before", np.float64),  # and the one before
        ("kind", np.int8),
        ("begun", np.bool_),
        ("good", np.bool_),  # whether `value` is Good
    ],
    align=True,
)

Array = npt.NDArray[Any]


@numba.njit(cache=True, nogil=True)
def clear(s: Any, start_ns: int) -> None:
    """An empty window begins at `start_ns`."""
    s.start_ns = start_ns
    s.mark_ns = start_ns
    s.n = 0
    s.covered_ns = 0.0
    s.mean = 0.0
    s.m2 = 0.0
    s.min = np.inf
    s.max = -np.inf
    s.first = np.nan
    s.last = np.nan
    s.increase = 0.0
    s.increase_before = 0.0


@numba.njit(cache=True, nogil=True)
def begin(s: Any, time_ns: int) -> None:
    """The first window of a signal, that of `time_ns`; nothing is known before it."""
    clear(s, time_ns // s.every_ns * s.every_ns)
    s.begun = True
    s.good = False
    s.value = np.nan
    s.sample_ns = time_ns
    s.counted = np.nan
    s.counted_before = np.nan


@numba.njit(cache=True, nogil=True)
def hold(s: Any, until_ns: int) -> None:
    """Let the value in force stand until `until_ns`, inside the window."""
    if s.good:
        stop = until_ns
        if s.hold_ns > 0 and s.sample_ns + s.hold_ns < stop:
            stop = s.sample_ns + s.hold_ns
        if stop > s.mark_ns:
            weight = float(stop - s.mark_ns)
            value = s.value
            s.covered_ns += weight
            delta = value - s.mean
            s.mean += delta * (weight / s.covered_ns)
            s.m2 += weight * delta * (value - s.mean)
            s.min = min(s.min, value)
            s.max = max(s.max, value)
            if np.isnan(s.first):
                s.first = value
            s.last = value
    if until_ns > s.mark_ns:
        s.mark_ns = until_ns


@numba.njit(cache=True, nogil=True)
def _step(before: float, now: float) -> float:
    """What a counter that went from `before` to `now` has counted."""
    if np.isnan(before):
        return 0.0
    if now >= before:
        return now - before
    for modulus in (65536.0, 4294967296.0):
        if 0.9 * modulus <= before < modulus and now <= 0.1 * modulus:
            return now - before + modulus
    return now


@numba.njit(cache=True, nogil=True)
def accept(s: Any, time_ns: int, value: float, again: bool) -> None:
    """Put a sample in force; one said `again` replaces the one of the same time before it."""
    good = not np.isnan(value)
    if s.kind == COUNTER:
        if again:
            s.increase = s.increase_before
            s.counted = s.counted_before
        s.increase_before = s.increase
        s.counted_before = s.counted
        if good:
            s.increase += _step(s.counted, value)
            s.counted = value
    s.value = value
    s.good = good
    s.sample_ns = time_ns


@numba.njit(cache=True, nogil=True)
def write(s: Any, number: int, rev: int, row: Any) -> None:
    """Say a window, of dtype `agent.lines.WINDOW`."""
    row.signal = number
    row.rev = rev
    row.start_ns = s.start_ns
    row.every_ns = s.every_ns
    row.n = s.n
    row.good = s.covered_ns / s.every_ns
    row.mean = np.nan
    row.std = np.nan
    row.min = np.nan
    row.max = np.nan
    row.first = s.first
    row.last = s.last
    row.increase = np.nan
    if s.covered_ns > 0.0:
        row.min = s.min
        row.max = s.max
        if s.kind == ANALOG or s.kind == WAVEFORM:
            row.mean = s.mean
            row.std = np.sqrt(s.m2 / s.covered_ns)
    if s.kind == COUNTER and (s.covered_ns > 0.0 or s.increase > 0.0):
        row.increase = s.increase
