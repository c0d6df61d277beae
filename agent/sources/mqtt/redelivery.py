"""Which messages the broker sends again, although their samples are taken already.

Enters: messages as they come, and the packets that were committed before a restart. Leaves: those
to decode, and whom to acknowledge when. Nothing fails.

A broker that has not seen the acknowledgement of a QoS 1 message sends it again in the next
connection of the session, with its DUP flag and under its packet id (MQTT 3.1.1, 3.3.1.1 and
4.4.0). The flag alone does not tell: the first transmission may never have come. So a redelivery is
what has the flag, and an id and contents that were taken already. Ids are used again: a message
without the flag is new, and so is one with other contents; either takes the id over. A broker that
gives the id at once to a message with the very same topic and payload, and loses the connection
before that has come, cannot be told from one that sends the first again; a time in the payload can.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from paho.mqtt.client import MQTTMessage

from agent.sources import REDELIVERED_MAX, Packets

_BEFORE: Final = 0
"""The number of the connections and batches of before a restart; ours count from 1."""


class _Taken(NamedTuple):
    """A packet whose samples were taken in `batch`, and which last came in `connection`."""

    digest: int
    connection: int
    batch: int


@dataclass(slots=True)
class Sorted:
    """Messages of one batch. To acknowledge are (packet id, QoS)."""

    fresh: list[MQTTMessage] = field(default_factory=list)
    committed: list[tuple[int, int]] = field(default_factory=list)
    """Came again after their commit: to be acknowledged at once."""
    owed: list[tuple[int, int]] = field(default_factory=list)
    """To be acknowledged after the batch's commit: the fresh, and again those that wait for it."""
    packets: list[tuple[int, int]] = field(default_factory=list)
    """(packet id, digest) of all with QoS."""


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

    def sort(self, messages: Sequence[MQTTMessage], connection: int, batch: int) -> Sorted:
        """Tell the new ones from those that came again; numbers ascend, from 1."""
        found = Sorted()
        for message in messages:
            if message.qos == 0:
                found.fresh.append(message)
                continue
            mid, digest = message.mid, _digest(message)
            known = self._taken.get(mid)
            found.packets.append((mid, digest))
            if message.dup and known is not None and known.digest == digest:
                self.redelivered += 1
                self._take(mid, known._replace(connection=connection))
                # One acknowledgement a connection: a second might meet the id's next message.
                if known.connection != connection:
                    due = found.committed if known.batch <= self._committed else found.owed
                    due.append((mid, message.qos))
            else:
                self._take(mid, _Taken(digest, connection, batch))
                found.fresh.append(message)
                found.owed.append((mid, message.qos))
        return found

    def _take(self, mid: int, taken: _Taken) -> None:
        self._taken[mid] = taken
        self._taken.move_to_end(mid)
        if len(self._taken) > REDELIVERED_MAX:
            self._taken.popitem(last=False)


def packets_of(pairs: Sequence[tuple[int, int]]) -> Packets | None:
    """(packet id, digest) as columns."""
    if not pairs:
        return None
    ids, digests = zip(*pairs, strict=True)
    return Packets(np.array(ids, np.uint16), np.array(digests, np.uint32))


def _digest(message: MQTTMessage) -> int:
    """CRC-32 of topic and payload; no topic has the zero between them (MQTT 3.1.1, 1.5.3)."""
    try:
        topic = message.topic.encode()
    except UnicodeDecodeError:
        topic = b""
    return zlib.crc32(message.payload, zlib.crc32(topic + b"\0"))
