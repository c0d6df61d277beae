"""Packets that are sent again, told from new ones (`agent/sources/mqtt/redelivery.py` says how).

Enters: packets in order of arrival. Leaves: what each is, and the state: by packet id what was
taken and when it last came, of the newest so many; a doubly linked list through the ids has their
order. Fails never.

Cost: 10 ns a packet. Memory: 2.6 MB a session.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.kernels.mqtt.reading import Int, compiled

IDS: Final = 65_536
"""Packet ids, and the place of the list's own ends behind them."""

DIGEST: Final = 0
CONNECTION: Final = 1
BATCH: Final = 2
OLDER: Final = 3
NEWER: Final = 4
COLUMNS: Final = 5
"""Columns of the state, int64. CONNECTION is -1 where nothing is known. In the last row: how many
are known (DIGEST), the newest (OLDER) and the oldest (NEWER)."""

FRESH: Final = 0
REPEATED: Final = 1
COMMITTED: Final = 2
OWED: Final = 3
"""What a packet is: new; or come again, and to be acknowledged not again in this connection, at
once, or after the commit that its samples wait for."""


def nothing() -> npt.NDArray[np.int64]:
    """The state in which no packet is known: (IDS + 1, COLUMNS) int64."""
    state = np.full((IDS + 1, COLUMNS), -1, np.int64)
    state[IDS] = 0, -1, -1, IDS, IDS
    return state


@compiled
def _unlink(number: Int, state: Any) -> None:
    older, newer = state[number, OLDER], state[number, NEWER]
    state[older, NEWER], state[newer, OLDER] = newer, older


@compiled
def _take(number: Int, digest: Int, connection: Int, batch: Int, most: Int, state: Any) -> None:
    """Know this packet as the newest, and forget the oldest of one too many."""
    if state[number, CONNECTION] >= 0:
        _unlink(number, state)
    else:
        state[IDS, DIGEST] += 1
    newest = state[IDS, OLDER]
    state[number, DIGEST], state[number, CONNECTION] = digest, connection
    state[number, BATCH] = batch
    state[number, OLDER], state[number, NEWER] = newest, IDS
    state[newest, NEWER], state[IDS, OLDER] = number, number
    if state[IDS, DIGEST] > most:
        oldest = state[IDS, NEWER]
        _unlink(oldest, state)
        state[oldest, CONNECTION] = -1
        state[IDS, DIGEST] -= 1


@compiled
def remember(ids: Any, digests: Any, most: Int, state: Any) -> None:
    """Know packets that were committed before, the oldest first.

    ids, digests : (n,) int64 and uint32, as those of `sort_packets`
    most : how many are known at most, at least 1
    """
    for row in range(ids.size):
        _take(ids[row], np.int64(digests[row]), np.int64(0), np.int64(0), most, state)


@compiled
def sort_packets(
    ids: Any, digests: Any, dup: Any, qos: Any, connection: Int, batch: Int, committed: Int,
    most: Int, state: Any, what: Any,
) -> Int:  # fmt: skip
    """Tell what packets are; how many came again.

    ids : (n,) int64, 0 to 65,535
    digests : (n,) uint32
    dup, qos : (n,) bool and int8; those of QoS 0 are FRESH and not looked at
    connection, batch : at least 1, in which they came
    committed : all batches up to this one are
    most : how many are known at most, at least 1
    state : of `nothing`, becomes what is known behind them
    what : (n,) int8, becomes what each is
    """
    again = 0
    for row in range(ids.size):
        what[row] = FRESH
        if qos[row] == 0:
            continue
        number, digest = ids[row] & (IDS - 1), np.int64(digests[row])
        before, taken_in = state[number, CONNECTION], state[number, BATCH]
        if dup[row] and before >= 0 and state[number, DIGEST] == digest:
            again += 1
            what[row] = REPEATED
            if before != connection:
                what[row] = COMMITTED if taken_in <= committed else OWED
            _take(number, digest, connection, taken_in, most, state)
        else:
            _take(number, digest, connection, batch, most, state)
    return again
