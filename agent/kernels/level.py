"""Robust EWMA level: is this value, or the mean of the last seconds, where it belongs.

    r = clip((x - c) / s, -K, K)        c += g s r        s^2 += g s^2 (r^2 / B - 1)
    m += clip(x - c, -6 s, 6 s) + c - m, weighted dt / (TAU_MEAN + dt)
    point: [min(c - 6 s, lowest - s), max(c + 6 s, highest + s)] must hold x
    mean:  c -+ max(3 s, 2 |extreme of m - c|) must hold m

c and s are the location and scale with Huberised residuals of Gelper, Fried and Croux (2010),
"Robust forecasting with exponential and Holt-Winters smoothing"; B makes s
consistent for normal noise. The chart on m is Roberts (1959). Gain g is 1/n in the warm-up; after
it dt / T, T being the time since the beginning or TAU_LEVEL, whichever is shorter, so that what a
short warm-up could not see is learned soon; never more than at the warm-up's end. lowest, highest
and the extremes of m are those of the warm-up, so that a signal that swings with the stroke is
judged by its swing. Nothing is learned near or outside the limits, nor from a value that did not
move: a night at rest would draw the limits together.

Known weakness: noise that wanders for minutes is more than the warm-up shows. In ten signal-hours
of stationary AR(1) noise at 10 Hz it gives 0 false alarms up to a correlation time of 2 s, 3 at
5 s, 20 at 20 s and 51 at 100 s.

An episode opens when a limit is reached, is an alarm at twice the distance, and is over when the
value stayed within 0.8 of the limits for `off_ns`. Only Good, finite values are judged. Cost: 35
to 45 ns a sample; memory: 144 B a signal.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from agent.kernels.blocks import drain
from agent.kernels.events import ALARM_RATIO, CLOSED, LEVEL, OPENED, RAISED, WARNING_RATIO, say

CLIP: Final = 2.5
CONSISTENCY: Final = 0.97756
"""E[min(|z|, 2.5)^2] of a standard normal z."""
POINT_LIMIT: Final = 6.0
MEAN_LIMIT: Final = 3.0
OFF_RATIO: Final = 0.8
LEARN_RATIO: Final = 0.9
"""What lies further out may be the beginning of an episode and teaches nothing."""
TAU_MEAN_NS: Final = 2e9
TAU_LEVEL_NS: Final = 600e9
SETTLE_SAMPLES: Final = 20
WARMUP_SAMPLES: Final = 60
"""A level is judged after this many samples that moved, and after the warm-up time."""
GAIN_MAX: Final = 1.0 / WARMUP_SAMPLES
"""However long the pause before it, one sample says no more than one of the warm-up."""

STATE: Final = np.dtype(
    [
        ("active", np.bool_),
        ("ready", np.bool_),
        ("open", np.bool_),
        ("alarm", np.bool_),
        ("changes", np.int64),
        ("first_ns", np.int64),
        ("time_ns", np.int64),
        ("value", np.float64),
        ("level", np.float64),
        ("variance", np.float64),
        ("mean", np.float64),
        ("lowest", np.float64),
        ("highest", np.float64),
        ("mean_lowest", np.float64),
        ("mean_highest", np.float64),
        ("since_ns", np.int64),
        ("calm_ns", np.int64),  # since when the open episode has been calm; 0 while it is not
        ("ratio", np.float64),  # worst of the episode, with its value
        ("worst", np.float64),
        ("worst_low", np.float64),  # and the limits it broke
        ("worst_high", np.float64),
    ],
    align=True,
)

Array = npt.NDArray[Any]


@numba.njit(cache=True, nogil=True)
def _begin(s: Any, t: int, x: float) -> None:
    s.first_ns = t
    s.time_ns = t
    s.value = x
    s.level = x
    s.mean = x
    s.variance = 0.0
    s.lowest = np.inf
    s.highest = -np.inf
    s.mean_lowest = np.inf
    s.mean_highest = -np.inf


@numba.njit(cache=True, nogil=True)
def _learn(s: Any, x: float, gain: float) -> None:
    scale = np.sqrt(s.variance)
    residual = x - s.level
    if s.changes > SETTLE_SAMPLES and scale > 0.0:
        r = min(max(residual / scale, -CLIP), CLIP)
        s.level += gain * scale * r
        s.variance += gain * s.variance * (r * r / CONSISTENCY - 1.0)
    else:
        s.level += gain * residual
        s.variance += gain * (residual * (x - s.level) - s.variance)


@numba.njit(cache=True, nogil=True)
def _warm_up(s: Any, t: int, x: float, moved: bool, warmup_ns: int) -> None:
    if moved:
        _learn(s, x, 1.0 / (s.changes + 1.0))
    if s.changes > SETTLE_SAMPLES and t - s.first_ns > warmup_ns // 3:
        s.lowest = min(s.lowest, x)
        s.highest = max(s.highest, x)
        s.mean_lowest = min(s.mean_lowest, s.mean)
        s.mean_highest = max(s.mean_highest, s.mean)
    s.ready = s.changes >= WARMUP_SAMPLES and t - s.first_ns >= warmup_ns and s.variance > 0.0


@numba.njit(cache=True, nogil=True)
def _limits(s: Any) -> tuple[float, float, float, float]:
    """Low and high of a single value, and of the mean."""
    c = s.level
    scale = np.sqrt(s.variance)
    low = min(c - POINT_LIMIT * scale, s.lowest - scale)
    high = max(c + POINT_LIMIT * scale, s.highest + scale)
    mean_low = c - max(MEAN_LIMIT * scale, 2.0 * (c - s.mean_lowest))
    mean_high = c + max(MEAN_LIMIT * scale, 2.0 * (s.mean_highest - c))
    return low, high, mean_low, mean_high


@numba.njit(cache=True, nogil=True)
def _ratio(x: float, c: float, low: float, high: float) -> float:
    """How far x lies from c, as a share of the way to the limit on its side."""
    far, reach = (x - c, high - c) if x >= c else (c - x, c - low)
    return far / reach if reach > 0.0 else 0.0


@numba.njit(cache=True, nogil=True)
def _say(s: Any, number: int, what: int, at: int, row: Any) -> None:
    """The open episode by its worst value so far."""
    say(
        row, number, LEVEL, what, s.since_ns, at, s.ratio,
        s.worst, s.level, s.worst_low, s.worst_high,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _close_if_calm(s: Any, number: int, t: int, off_ns: int, out: Array, count: int) -> int:
    if s.open and s.calm_ns > 0 and t >= s.calm_ns + off_ns:
        _say(s, number, CLOSED, s.calm_ns, out[count])
        s.open = False
        return count + 1
    return count


@numba.njit(cache=True, nogil=True)
def _judge(s: Any, number: int, t: int, x: float, out: Array, count: int) -> tuple[int, float]:
    """Compare one value with its limits; the count of events and the ratio found."""
    low, high, mean_low, mean_high = _limits(s)
    ratio = _ratio(x, s.level, low, high)
    mean_ratio = _ratio(s.mean, s.level, mean_low, mean_high)
    worst = x
    if mean_ratio > ratio:
        ratio, worst, low, high = mean_ratio, s.mean, mean_low, mean_high
    what = -1
    if ratio >= WARNING_RATIO and not s.open:
        s.open, s.alarm, s.since_ns, s.ratio, s.calm_ns = True, False, t, 0.0, 0
        what = OPENED
    if s.open:
        if ratio > s.ratio:
            s.ratio, s.worst, s.worst_low, s.worst_high = ratio, worst, low, high
        if ratio >= ALARM_RATIO and not s.alarm:
            s.alarm = True
            what = RAISED if what < 0 else what
        if ratio >= OFF_RATIO:
            s.calm_ns = 0
        elif s.calm_ns == 0:
            s.calm_ns = t
    if what >= 0:
        _say(s, number, what, t, out[count])
        count += 1
    return count, ratio


@numba.njit(cache=True, nogil=True)
def _update(
    state: Array, signal: Array, time_ns: Array, value: Array, status: Array,
    warmup_ns: int, off_ns: int, begin: int, out: Array,
) -> tuple[int, int]:  # fmt: skip
    count = 0
    for i in range(begin, signal.size):
        if count > out.size - 2:
            return count, i
        number, t, x = signal[i], time_ns[i], value[i]
        s = state[number]
        if not s.active or (status[i] >> 30) != 0 or not np.isfinite(x):
            continue
        if s.first_ns == 0:
            _begin(s, t, x)
            continue
        dt = t - s.time_ns
        if dt <= 0:
            continue
        s.time_ns = t
        moved = x != s.value
        s.changes += moved
        s.value = x
        reach = POINT_LIMIT * np.sqrt(s.variance)
        pulled = s.level + min(max(x - s.level, -reach), reach) if s.ready else x
        s.mean += (pulled - s.mean) * (dt / (TAU_MEAN_NS + dt))
        if not s.ready:
            _warm_up(s, t, x, moved, warmup_ns)
            continue
        count = _close_if_calm(s, number, t, off_ns, out, count)
        count, ratio = _judge(s, number, t, x, out, count)
        if moved and ratio < LEARN_RATIO and not s.open:
            memory_ns = min(float(t - s.first_ns), TAU_LEVEL_NS)
            _learn(s, x, min(dt / (memory_ns + dt), GAIN_MAX))
    return count, signal.size


@numba.njit(cache=True, nogil=True)
def _advance(
    state: Array, members: Array, alive_until_ns: int, off_ns: int, begin: int, out: Array
) -> tuple[int, int]:
    count = 0
    for i in range(begin, members.size):
        if count > out.size - 1:
            return count, i
        s = state[members[i]]
        count = _close_if_calm(s, members[i], alive_until_ns, off_ns, out, count)
    return count, members.size


def new_state(size: int) -> Array:
    """State for `size` signals, none judged until `active` is set: (size,) of dtype STATE."""
    return np.zeros(size, STATE)


def update(
    state: Array, signal: Array, time_ns: Array, value: Array, status: Array,
    warmup_ns: int, off_ns: int, out: Array,
) -> list[Array]:  # fmt: skip
    """Judge samples of any signals, in order; only those with `state.active`.

    signal, time_ns, value, status : (n,) int32, int64, float64, uint32
    warmup_ns : shortest time from which a signal's level is learned
    off_ns : calm time after which an episode is over
    out : (events.OUT_ROWS,) of dtype EVENT, scratch

    Returns what was noticed, in blocks of dtype EVENT.
    """
    return drain(
        lambda begin: _update(state, signal, time_ns, value, status, warmup_ns, off_ns, begin, out),
        signal.size, out,
    )  # fmt: skip


def advance(
    state: Array, members: Array, alive_until_ns: int, off_ns: int, out: Array
) -> list[Array]:
    """Close the episodes of these signals that have been calm for `off_ns` by `alive_until_ns`."""
    return drain(
        lambda begin: _advance(state, members, alive_until_ns, off_ns, begin, out),
        members.size, out,
    )  # fmt: skip
