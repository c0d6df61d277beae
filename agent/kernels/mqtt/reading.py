"""Bytes as numbers, for the other readers. None checks: its caller has compared with the end first.

Positions become unsigned, since numba lets a signed one count from the end; so eight bytes compile
to one load. Named numbers are uint64, because uint64 with int64 becomes a float to numba.

Cost: 1 ns. Memory: none.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numba.core import cpu

Int = Any
"""An int64, with the compiler and without."""
Bool = Any
"""A bool, with the compiler and without."""

_UNCOUNTED: Final = {"_nrt": False} if hasattr(cpu.CPUTargetOptions, "_nrt") else {}
"""numba's own option: a numba without it refuses it, and only costs more."""
compiled: Any = numba.njit(cache=True, nogil=True, **_UNCOUNTED)  # type: ignore[call-overload]
"""How these kernels are compiled: references to arrays are not counted, which would cost more than
reading them. So a kernel here makes no array."""

_1: Final = np.uint64(1)
_2: Final = np.uint64(2)
_3: Final = np.uint64(3)
_4: Final = np.uint64(4)
_5: Final = np.uint64(5)
_6: Final = np.uint64(6)
_7: Final = np.uint64(7)
_8: Final = np.uint64(8)
_16: Final = np.uint64(16)
_24: Final = np.uint64(24)
_32: Final = np.uint64(32)
_40: Final = np.uint64(40)
_48: Final = np.uint64(48)
_56: Final = np.uint64(56)


@compiled
def byte(body: Any, p: Int) -> Int:
    """One byte as int64."""
    return np.int64(body[np.uint64(p)])


@compiled
def u16(body: Any, p: Int) -> Int:
    """Two bytes, the higher first (MQTT 5.0, 1.5.2), as int64."""
    return (byte(body, p) << 8) | byte(body, p + 1)


@compiled
def word(body: Any, p: Int) -> Any:
    """Eight bytes as uint64, the lowest first."""
    q = np.uint64(p)
    return (
        np.uint64(body[q])
        | np.uint64(body[q + _1]) << _8
        | np.uint64(body[q + _2]) << _16
        | np.uint64(body[q + _3]) << _24
        | np.uint64(body[q + _4]) << _32
        | np.uint64(body[q + _5]) << _40
        | np.uint64(body[q + _6]) << _48
        | np.uint64(body[q + _7]) << _56
    )


@compiled
def tail(body: Any, p: Int, end: Int) -> Any:
    """Fewer than eight bytes as uint64, the lowest first."""
    taken, at = np.uint64(0), end
    while at > p:
        at -= 1
        taken = taken << _8 | np.uint64(body[np.uint64(at)])
    return taken


@compiled
def is_same(body: Any, at: Int, pool: Any, start: Int, size: Int) -> Bool:
    """Whether the same bytes lie at both."""
    offset = 0
    while offset + 8 <= size and word(body, at + offset) == word(pool, start + offset):
        offset += 8
    same = size - offset < 8
    if same:
        rest = tail(body, at + offset, at + size)
        same = rest == tail(pool, start + offset, start + size)
    return same
