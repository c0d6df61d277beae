"""Topics to route numbers: a table with open addressing and linear probing.

Enters: where topics lie. Leaves: for each the number that was given for it, or -1. Hashed eight
bytes a step with a seed of the process, so that nobody can make topics that collide; one that found
no place within `PROBES_MAX` stays unknown. Fails never.

Cost: 12 ns a topic of 30 bytes while the table is in the processor's cache, 60 ns else.
Memory: 64 to 128 B a topic and its bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent.kernels.mqtt.reading import Bool, Int, compiled, is_same, tail, word

PROBES_MAX: Final = 64
HASH: Final = 0
AT: Final = 1
SIZE: Final = 2
ROUTE: Final = 3
PLACE: Final = 4
"""Columns of a place in the table, int64: hash, start and length of the topic in the pool, route;
all -1 where it is free."""

_FACTOR: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_HALF: Final = np.uint64(32)
_HASH_BITS: Final = np.uint64(0x7FFF_FFFF_FFFF_FFFF)


@compiled
def _hash(body: Any, at: Int, size: Int, seed: Any) -> Int:
    code = seed ^ np.uint64(size)
    end = at + size
    while end - at >= 8:
        code = (code ^ word(body, at)) * _FACTOR
        code ^= code >> _HALF
        at += 8
    code = (code ^ tail(body, at, end)) * _FACTOR
    code ^= code >> _HALF
    return np.int64(code & _HASH_BITS)


@compiled
def find(
    body: Any, topic_at: Any, topic_len: Any, seed: Any, pool: Any, table: Any, route: Any
) -> None:
    """Give each topic its route, -1 where it has none.

    topic_at, topic_len : (n,) int64
    seed : uint64
    pool : uint8, read-only, the topics that have a place
    table : (2^k, PLACE) int64
    route : (n,) int32, becomes the routes
    """
    mask = table.shape[0] - 1
    for row in range(topic_at.size):
        at, size = topic_at[row], topic_len[row]
        code = _hash(body, at, size, seed)
        place = code & mask
        found = np.int64(-1)
        for _ in range(PROBES_MAX):
            if table[place, SIZE] < 0:
                break
            if (
                table[place, HASH] == code
                and table[place, SIZE] == size
                and is_same(body, at, pool, table[place, AT], size)
            ):
                found = table[place, ROUTE]
                break
            place = (place + 1) & mask
        route[row] = found


@compiled
def _take(code: Int, at: Int, size: Int, route: Int, table: Any) -> Bool:
    """The first free place from that of the hash on; False where all within reach are taken."""
    mask = table.shape[0] - 1
    place = code & mask
    for _ in range(PROBES_MAX):
        if table[place, SIZE] < 0:
            table[place, HASH], table[place, AT] = code, at
            table[place, SIZE], table[place, ROUTE] = size, route
            return True
        place = (place + 1) & mask
    return False


@compiled
def insert(pool: Any, at: Int, size: Int, seed: Any, route: Int, table: Any) -> Bool:
    """Give a topic in the pool, which has no place yet, one; False where none was found."""
    return _take(_hash(pool, at, size, seed), at, size, route, table)


@compiled
def move(before: Any, table: Any) -> None:
    """Give all topics of one table a place in another, empty one; few may find none."""
    for place in range(before.shape[0]):
        if before[place, SIZE] >= 0:
            _take(
                before[place, HASH], before[place, AT], before[place, SIZE],
                before[place, ROUTE], table,
            )  # fmt: skip
