"""Times that cannot be: a sample from far ahead would close all windows, one from 1970 none.

What enters is a batch; what leaves is the same with such times moved to when it was received, and
how many were moved, by cause. Their spacing stays, so that rates and pauses are still right. A
batch may hold several machines' clocks: what is still impossible after one move is moved again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

import numpy as np

from agent.batch import AHEAD_MAX_NS, BEHIND_MAX_NS, Batch, Int64

CLOCK_AHEAD: Final = "clock_ahead"
CLOCK_BEHIND: Final = "clock_behind"
CLOCKS_MAX: Final = 8
"""So many clocks of one batch keep their spacing; the times of others all become `received_ns`."""

_SOUND_MAX_NS: Final = 1 << 61
"""Beyond it, differences of times would overflow."""


def retime(batch: Batch, retimed: Counter[str]) -> Batch:
    """The batch with no time that cannot be; `retimed` is raised by what was moved."""
    earliest_ns, latest_ns = batch.received_ns - BEHIND_MAX_NS, batch.received_ns + AHEAD_MAX_NS
    time_ns = batch.time_ns
    if not len(batch) or (time_ns.min() >= earliest_ns and time_ns.max() <= latest_ns):
        return batch
    ahead, behind = time_ns > latest_ns, time_ns < earliest_ns
    moved = np.clip(time_ns, -_SOUND_MAX_NS, _SOUND_MAX_NS)
    for cause, wrong in ((CLOCK_AHEAD, ahead), (CLOCK_BEHIND, behind)):
        if wrong.any():
            retimed[cause] += int(wrong.sum())
            moved[wrong] = _moved(moved[wrong], batch.received_ns, earliest_ns)
    return replace(batch, time_ns=moved)


def _moved(time_ns: Int64, received_ns: int, earliest_ns: int) -> Int64:
    left = np.ones(len(time_ns), np.bool_)
    for _ in range(CLOCKS_MAX):
        time_ns[left] += received_ns - time_ns[left].max()
        left = time_ns < earliest_ns
        if not left.any():
            return time_ns
    time_ns[left] = received_ns
    return time_ns
