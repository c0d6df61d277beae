"""Steps over the items of notifications and histories (OPC 10000-4, 7.25; OPC 10000-11, 6.6).

Enters: the bytes of one. Leaves: how many items it has, all of which can be read; or a fault. An
ExtensionObject that does not say its length stops the walk; it goes on when it is told where the
value ends.

Cost: 4 ns an item. Memory: none.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.opcua.reading import COUNT, fault
from agent.kernels.opcua.skipping import (
    HAS_VALUE,
    count_at,
    skip_size,
    skip_variant,
    tail_size,
)

AT: Final = 0
LEFT: Final = 1
VALUE_END: Final = 2
HANDLE_SIZE: Final = 3
WALK: Final = 4
"""Places in the state of a walk, (WALK,) int64: the item to begin with, how many are left with it,
and where its value ends if that is known, zeros before the first; the bytes of a client handle, 4, or
0 in histories."""


@numba.njit(cache=True, nogil=True)
def _walk(body: Any, p: int, end: int, handle_size: int, value_end: int) -> int:
    """Step over one item: a client handle of 4 or 0 bytes, and a DataValue."""
    at = p + handle_size
    p = skip_size(p, end, handle_size + 1)
    if p < 0:
        return p
    mask = np.int64(body[at])
    if mask & HAS_VALUE:
        p = value_end if value_end else skip_variant(body, p, end)
    return skip_size(p, end, tail_size(mask)) if p >= 0 else p


@numba.njit(cache=True, nogil=True)
def walk(body: Any, p: int, end: int, state: Any) -> int:
    """Step over an array of items; a fault leaves in `state` where and how to go on."""
    handle_size = state[HANDLE_SIZE]
    left = state[LEFT]
    value_end = state[VALUE_END]
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
        behind = _walk(body, p, end, handle_size, value_end)
        if behind < 0:
            state[AT], state[LEFT] = p, left
            return behind
        p, left, value_end = behind, left - 1, 0
    return p


@numba.njit(cache=True, nogil=True)
def walk_events(body: Any, p: int, end: int) -> int:
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
