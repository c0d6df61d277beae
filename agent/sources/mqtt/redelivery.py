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

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agent.sources import REDELIVERED_MAX, Packets
from agent.sources.mqtt.packets import Publishes

_BEFORE: Final = 0
"""The number of the connections and batches of before a restart; ours count from 1."""


class _Taken(NamedTuple):
    """A packet whose samples were taken in `batch`, and which last came in `connection`."""

    digest: int
    connection: int
    batch: int


@dataclass(slots=True)
class Sorted:
    """Messages of one batch. To acknowledge are (packet id, QoS).

    fresh : (n,) bool, of each message whether it is new
    packets : of all with QoS; None where there are none
    """

    fresh: npt.NDArray[np.bool_]
    packets: Packets | None = None
    committed: list[tuple[int, int]] = field(default_factory=list)
    """Came again after their commit: to be acknowledged at once."""
    owed: list[tuple[int, int]] = field(default_factory=list)
    """To be acknowledged after the batch's commit: the fresh, and again those that wait for it."""


class Redelivery:
    """The packets of one session. `redelivered` counts what came again."""

    def __init__(self) -> None:
        self.redelivered = 0
        self._taken: OrderedDict[int, _Taken] = OrderedDict()  # the newest last
        self._committed = _BEFORE

    def __len__(self) -> int:
        return len(self._taken)

    def remember(self, packets: Iterable[Packets]) -> None:
        """Take these as committed, oldest first."""
        for some in packets:
            for mid, digest in zip(some.ids.tolist(), some.digests.tolist(), strict=True):
                self._take(mid, _Taken(digest, _BEFORE, _BEFORE))

    def forget(self) -> None:
        """Begin a new session, in which ids mean other messages."""
        self._taken.clear()

    def commit(self, batch: int) -> None:
        """All batches up to this one are committed."""
        self._committed = max(self._committed, batch)

    def sort(self, messages: Publishes, connection: int, batch: int) -> Sorted:
        """Tell the new ones from those that came again; numbers ascend, from 1."""
        found = Sorted(np.ones(len(messages), np.bool_))
        rows = np.flatnonzero(messages.qos)
        if not rows.size:
            return found
        found.packets = Packets(
            messages.packet_id[rows].astype(np.uint16), messages.digest[rows].astype(np.uint32)
        )
        columns = (rows, messages.packet_id[rows], messages.digest[rows], messages.dup[rows],
                   messages.qos[rows])  # fmt: skip
        for row, mid, digest, dup, qos in zip(*(c.tolist() for c in columns), strict=True):
            known = self._taken.get(mid)
            if dup and known is not None and known.digest == digest:
                self.redelivered += 1
                found.fresh[row] = False
                self._take(mid, known._replace(connection=connection))
                # One acknowledgement a connection: a second might meet the id's next message.
                if known.connection != connection:
                    due = found.committed if known.batch <= self._committed else found.owed
                    due.append((mid, qos))
            else:
                self._take(mid, _Taken(digest, connection, batch))
                found.owed.append((mid, qos))
        return found

    def _take(self, mid: int, taken: _Taken) -> None:
        self._taken[mid] = taken
        self._taken.move_to_end(mid)
        if len(self._taken) > REDELIVERED_MAX:
            self._taken.popitem(last=False)
