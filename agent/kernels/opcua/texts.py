"""Distinct texts: the same bytes of the same type are one, and stand for it by index.

Enters: specials of texts. Leaves: in their rows the index, and of each distinct one where it lies.
Found by a hash (FNV-1a, 64 bit) in a table with linear probing; after `PROBES_MAX` places a text is
taken for a new one, so that texts made to collide cost no more than others. Fails never.

Cost: 1 ns a byte and 5 ns a text. Memory: 8 B a place of the table, two places a text.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from agent.kernels.opcua.items import TEXT
from agent.kernels.opcua.reading import Int

PROBES_MAX: Final = 16
PLACES_MIN: Final = 16

_BASIS: Final = np.uint64(0xCBF2_9CE4_8422_2325)
_PRIME: Final = np.uint64(0x0000_0100_0000_01B3)


@numba.njit(cache=True, nogil=True)
def _hash(body: Any, at: Int, size: Int, type_id: Int) -> Int:
    code = _BASIS ^ np.uint64(type_id)
    for p in range(at, at + size):
        code = (code ^ np.uint64(body[p])) * _PRIME
    return np.int64((code ^ (code >> np.uint64(32))) & np.uint64(0x7FFF_FFFF))


@numba.njit(cache=True, nogil=True)
def _is_same(body: Any, at: Int, other_at: Int, size: Int) -> bool:
    """Whether the same bytes lie at both."""
    offset = 0
    while offset < size and body[at + offset] == body[other_at + offset]:
        offset += 1
    return offset == size


@numba.njit(cache=True, nogil=True)
def distinct(body: Any, special: Any, value: Any, table: Any, found: Any) -> Int:
    """Give each text its index; how many distinct ones there are.

    special : (s, SPECIAL) int64
    value : (n,) float64, becomes the index in the rows of texts
    table : (2^k,) int64, at least two places a text, -1 in all
    found : (t,) int64, t texts, becomes the special of each distinct one
    """
    count = 0
    mask = table.size - 1
    for index in range(special.shape[0]):
        if special[index, 0] != TEXT:
            continue
        type_id, at, size = special[index, 2], special[index, 3], special[index, 4]
        place = _hash(body, at, size, type_id) & mask
        text = -1
        for _ in range(PROBES_MAX):
            if table[place] < 0:
                break
            other = found[table[place]]
            alike = special[other, 2] == type_id and special[other, 4] == size
            if alike and _is_same(body, at, special[other, 3], size):
                text = table[place]
                break
            place = (place + 1) & mask
        if text < 0:
            text = count
            found[count] = index
            if table[place] < 0:
                table[place] = count
            count += 1
        value[special[index, 1]] = text
    return count
