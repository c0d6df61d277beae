"""Which messages the broker sends again, although their samples are taken already.

Enters: messages as they come, and the packets that were committed before a restart. Leaves: those
to decode, and whom to acknowledge when. Nothing fails.

A broker that has not seen the acknowledgement of a QoS 1 or 2 message sends it again in the next
connection of the session, with its DUP flag and under its packet id (MQTT 3.1.1, 3.3.1.1 and
4.4.0). The flag alone does not tell: the first transmission may never have come. So a redelivery is
what has the flag, and an id and contents that were taken already. Ids are used again: a message
without the flag is new, and so is one with other contents; either takes the id over. A broker that
gives the id at once to a message with the very same topic and payload, and loses the connection
before that has come, cannot be told from one that sends the first again; a time in the payload can.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.batch import Int64
from agent.kernels.mqtt import redelivery as kernel
from agent.sources import REDELIVERED_MAX, Packets
from agent.sources.mqtt.packets import Publishes


class Owed(NamedTuple):
    """Packets to acknowledge, in the order they came: (n,) their ids and their QoS, 1 or 2."""

    ids: Int64
    qos: npt.NDArray[np.int8]

    @property
    def size(self) -> int:
        """How many."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Sorted:
    """Messages of one batch.

    fresh : (n,) bool, of each message whether it is new
    packets : of all with QoS; None where there are none
    committed : came again after their commit: to be acknowledged at once
    owed : to be acknowledged after the batch's commit: the fresh, and again those that wait for it
    """

    fresh: npt.NDArray[np.bool_]
    packets: Packets | None
    committed: Owed
    owed: Owed


class Redelivery:
    """The packets of one session. `redelivered` counts what came again."""

    def __init__(self) -> None:
        self.redelivered = 0
        self._known = kernel.nothing()
        self._committed = 0  # connections and batches count from 1; those of before are 0

    def __len__(self) -> int:
        return int(self._known[kernel.IDS, kernel.DIGEST])

    def remember(self, packets: Iterable[Packets]) -> None:
        """Take these as committed, oldest first."""
        for some in packets:
            kernel.remember(some.ids.astype(np.int64), some.digests, REDELIVERED_MAX, self._known)

    def forget(self) -> None:
        """Begin a new session, in which ids mean other messages."""
        self._known = kernel.nothing()

    def commit(self, batch: int) -> None:
        """All batches up to this one are committed."""
        self._committed = max(self._committed, batch)

    def sort(self, messages: Publishes, connection: int, batch: int) -> Sorted:
        """Tell the new ones from those that came again; numbers ascend, from 1."""
        ids, qos = messages.packet_id, messages.qos
        what = np.empty(len(messages), np.int8)
        self.redelivered += int(
            kernel.sort_packets(
                ids, messages.digest, messages.dup, qos, connection, batch, self._committed,
                REDELIVERED_MAX, self._known, what,
            )
        )  # fmt: skip
        fresh, counted = what == kernel.FRESH, qos > 0
        owed = counted & (fresh | (what == kernel.OWED))
        committed = what == kernel.COMMITTED
        packets = None
        if counted.any():
            packets = Packets(ids[counted].astype(np.uint16), messages.digest[counted])
        return Sorted(
            fresh, packets, Owed(ids[committed], qos[committed]), Owed(ids[owed], qos[owed])
        )
