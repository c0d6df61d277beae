"""Steps over the items of notifications and histories (OPC 10000-4, 7.25; OPC 10000-11, 6.6).

Enters: the bytes of one. Leaves: how many items it has, all of which can be read; or a fault. An
ExtensionObject that does not say its length stops the walk; it goes on when it is told where the
value ends.

Cost: 6 ns an item. Memory: none.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.opcua.reading import COUNT, ENDS, Int, fault
from agent.kernels.opcua.skipping import (
    HAS_VALUE,
    SCALAR_SIZES,
    count_at,
    skip_variant,
    tail_size,
)

AT: Final = 0
LEFT: Final = 1
VALUE_END: Final = 2
HANDLE_SIZE: Final = 3
WALK: Final = 4
"""Places in the state of a walk, (WALK,) int64: the item to begin with, how many are left with it,
and where its value ends if that is known, zeros before the first; the bytes of a client handle, 4,
or 0 in histories."""


@numba.njit(cache=True, nogil=True)
def walk(body: Any, p: Int, end: Int, state: Any) -> Int:
    """Step over an array of items; a fault leaves in `state` where and how to go on."""
    handle_size, left, value_end = state[HANDLE_SIZE], state[LEFT], state[VALUE_END]
    if state[AT]:
        p = state[AT]
    else:
        left = count_at(body, p, end)
        if left < 0:
            return left
        p += 4
        if left * (handle_size + 1) > end - p:
            return fault(p - 4, COUNT)
    while left > 0:
        state[AT], state[LEFT] = p, left
        if end - p < handle_size + 1:
            return fault(p, ENDS)
        mask = np.int64(body[p + handle_size])
        p += handle_size + 1
        if value_end:
            p, value_end = value_end, np.int64(0)
        elif mask & HAS_VALUE:
            size = SCALAR_SIZES[body[p]] if p < end else np.int64(0)
            p = p + 1 + size if size else skip_variant(body, p, end)
            if p < 0:
                return p
        size = tail_size(mask)
        if end - p < size:
            return fault(min(p, end), ENDS)
        p += size
        left -= 1
    return p


@numba.njit(cache=True, nogil=True)
def walk_events(body: Any, p: Int, end: Int) -> Int:
    """Step over an array of EventFieldLists: client handles and Variants."""
    count = count_at(body, p, end)
    if count < 0:
        return count
    p += 4
    for _ in range(count):
        fields = count_at(body, p + 4, end)
        if fields < 0:
            return fields
        p += 8
        for _ in range(fields):
            p = skip_variant(body, p, end)
            if p < 0:
                return p
    return p
