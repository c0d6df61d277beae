"""What packets are, against a dictionary that keeps its order."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.kernels.mqtt import redelivery as kernel

MOST: Final = 5
"""Small, so that the oldest are forgotten again and again."""

Packet = tuple[int, int, bool, int]
PACKETS: Final = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 4, 5, 6, 7, 65_535]), st.sampled_from([0, 1, 2**32 - 1]),
        st.booleans(), st.integers(0, 2),
    ),
    max_size=30,
)  # fmt: skip
STEPS: Final = st.lists(st.tuples(PACKETS, st.booleans(), st.booleans()), min_size=1, max_size=8)
"""Packets of a batch, whether the connection is new, whether the batch before is committed."""


class Twin:
    """The slow, obvious way."""

    def __init__(self) -> None:
        self.taken: OrderedDict[int, tuple[int, int, int]] = OrderedDict()

    def take(self, number: int, taken: tuple[int, int, int]) -> None:
        self.taken[number] = taken
        self.taken.move_to_end(number)
        if len(self.taken) > MOST:
            self.taken.popitem(last=False)

    def what(self, packet: Packet, connection: int, batch: int, committed: int) -> int:
        number, digest, dup, qos = packet
        if qos == 0:
            return kernel.FRESH
        known = self.taken.get(number)
        if not (dup and known is not None and known[0] == digest):
            self.take(number, (digest, connection, batch))
            return kernel.FRESH
        self.take(number, (digest, connection, known[2]))
        if known[1] == connection:
            return kernel.REPEATED
        return kernel.COMMITTED if known[2] <= committed else kernel.OWED


def columns(packets: list[Packet]) -> tuple[Any, ...]:
    ids, digests, dup, qos = zip(*packets, strict=True) if packets else ((), (), (), ())
    return (
        np.array(ids, np.int64), np.array(digests, np.uint32), np.array(dup, np.bool_),
        np.array(qos, np.int8),
    )  # fmt: skip


@given(STEPS, PACKETS)
def test_packets_are_what_a_dictionary_in_order_says(
    steps: list[tuple[list[Packet], bool, bool]], before: list[Packet]
) -> None:
    state, twin = kernel.nothing(), Twin()
    ids, digests, _, _ = columns(before)
    kernel.remember(ids, digests, MOST, state)
    for number, digest, _, _ in before:
        twin.take(number, (digest, 0, 0))
    connection, committed = 1, 0
    for batch, (packets, is_new, is_committed) in enumerate(steps, 1):
        connection += is_new
        what = np.full(len(packets), -1, np.int8)
        again = kernel.sort_packets(
            *columns(packets), connection, batch, committed, MOST, state, what
        )
        wanted = [twin.what(packet, connection, batch, committed) for packet in packets]
        assert what.tolist() == wanted
        assert again == sum(one != kernel.FRESH for one in wanted)
        assert state[kernel.IDS, kernel.DIGEST] == len(twin.taken)
        committed = batch if is_committed else committed
