"""The order of a node's messages (Sparkplug 3.0, 5.9): who is overtaken is waited for.

Enters: messages as they arrive. Leaves: the same in the order of their sequence numbers, through
`act`; what is in no order through `drop`, with its cause. A message ahead of its turn is held for
`reorder_ns`; then those held are taken as they are, `lost` is told, and what comes later of what
was missing is taken if it is data, since a late sample still has its place. The node's own clock
tells "overtaken" from "late": a late one was sent before the last in order.

Bounded by `HELD_MAX` messages a node and `HELD_BYTES_MAX` in all; beyond it waiting is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.sources.mqtt.sparkplug.nodes import SEQ_COUNT, Message, Node

HELD_MAX: Final = 64
HELD_BYTES_MAX: Final = 16 << 20
MESSAGE_BYTES: Final = 500
"""What holding a message takes beside its payload."""

NO_BIRTH: Final = "no_birth"
REPEATED: Final = "repeated"
LATE: Final = "late"
STALE: Final = "stale"
"""Why a message is dropped."""

_DATA: Final = ("NDATA", "DDATA")


class Order:
    """Messages of all nodes.

    act : takes a message whose turn it is
    drop : takes a message that is in no order, and why
    lost : told of a node of which messages are missing, or the birth, and when
    """

    def __init__(
        self,
        reorder_ns: int,
        act: Callable[[Message], None],
        drop: Callable[[str, Message], None],
        lost: Callable[[Node, int], None],
    ) -> None:
        self.reorder_ns = reorder_ns
        self._act = act
        self._drop = drop
        self._lost = lost
        self._holding: dict[Node, None] = {}
        self._held_bytes = 0

    def arrived(self, message: Message) -> None:
        """Take a message of a node or device, but NBIRTH and NDEATH."""
        node, seq, sent_ms = message.address.node, message.seq, message.timestamp_ms
        if node.is_born and (seq == node.next_seq or seq < 0):
            self._next(node, message)
            if node.held:
                self._drain(node)
        elif node.is_born and 0 < sent_ms < node.birth_ms:
            self._drop(STALE, message)
        elif node.is_born and (seq + 1) % SEQ_COUNT == node.next_seq and sent_ms == node.last_ms:
            self._drop(REPEATED, message)
        elif node.is_born and 0 < sent_ms < node.last_ms:
            if message.address.message in _DATA:
                self._act(message)
            else:
                self._drop(LATE, message)
        elif seq in node.held:
            self._drop(REPEATED, message)
        else:
            self._hold(node, message)

    def begin(self, node: Node, birth: Message) -> None:
        """The node is born: its count begins anew, with what of it has overtaken its birth."""
        node.next_seq = (max(birth.seq, 0) + 1) % SEQ_COUNT
        node.birth_ms = node.last_ms = birth.timestamp_ms
        for seq, message in list(node.held.items()):
            if not 0 < birth.timestamp_ms <= message.timestamp_ms:
                self._forget(node, seq)
                self._drop(NO_BIRTH, message)
        self._drain(node)

    def release(self, node: Node) -> None:
        """Wait no longer: take what is held in its order, or drop it where there is no birth."""
        held = node.in_turn()
        self._let_go(node, held)
        for message in held:
            if not node.is_born:
                self._drop(NO_BIRTH, message)
            else:
                self._next(node, message)

    def look(self, now_ns: int) -> None:
        """Release where the time to wait is over."""
        for node in list(self._holding):
            if not 0 <= now_ns - node.held_since_ns < self.reorder_ns:
                self._give_up(node, now_ns)

    def _hold(self, node: Node, message: Message) -> None:
        if not node.held:
            node.held_since_ns = message.received_ns
            self._holding[node] = None
        node.held[message.seq] = message.kept()
        self._held_bytes += _size(message)
        full = len(node.held) > HELD_MAX or self._held_bytes > HELD_BYTES_MAX
        if full or self.reorder_ns == 0:
            self._give_up(node, message.received_ns)

    def _give_up(self, node: Node, now_ns: int) -> None:
        self._lost(node, now_ns)
        self.release(node)

    def _drain(self, node: Node) -> None:
        """Take what is held as far as nothing is missing."""
        while node.next_seq in node.held:
            self._next(node, self._forget(node, node.next_seq))

    def _next(self, node: Node, message: Message) -> None:
        if message.seq >= 0:
            node.next_seq = (message.seq + 1) % SEQ_COUNT
        if message.timestamp_ms > 0:
            node.last_ms = message.timestamp_ms
        self._act(message)

    def _forget(self, node: Node, seq: int) -> Message:
        message = node.held.pop(seq)
        self._let_go(node, [message])
        return message

    def _let_go(self, node: Node, messages: list[Message]) -> None:
        self._held_bytes -= sum(map(_size, messages))
        if not node.held:
            self._holding.pop(node, None)


def _size(message: Message) -> int:
    return message.end - message.at + MESSAGE_BYTES
