"""What is known of each node: whether it lives, what it has, and which message comes next.

A node's messages, its own and its devices', carry one sequence number, 0 to 255 and round again. A
message that others have overtaken is waited for, and those ahead of it are held meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from agent.kernels.sparkplug.values import TIME_MS_MAX
from agent.sources.mqtt.sparkplug.born import EMPTY, Raw, Table

SEQ_COUNT: Final = 256
NEVER_NS: Final = -(2**62)


@dataclass(slots=True, eq=False)
class Member:
    """A device, or the node itself, whose name here is "".

    table : what its last birth gave
    is_born : whether its data can be read
    is_alive : whether its signals are in reach; False once that has been told
    gone_ns : when they were last out of reach
    latest_ns : the latest time of its samples
    due_ns : when it must be born again after its node was
    """

    node: Node
    device: str
    table: Table = EMPTY
    is_born: bool = False
    is_alive: bool = False
    gone_ns: int = 0
    latest_ns: int = 0
    due_ns: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """A node and its devices.

    bdseq : of its NBIRTH, None where that had none
    birth_ms, last_ms : payload timestamps of its NBIRTH, and of the last message in order
    next_seq : the number that comes next
    held : messages ahead, by number, since `held_since_ns`
    asked_ns : when it was last asked for a rebirth
    """

    group: str
    name: str
    members: dict[str, Member] = field(default_factory=dict)
    is_born: bool = False
    bdseq: int | None = None
    birth_ms: int = 0
    last_ms: int = 0
    next_seq: int = 0
    held: dict[int, Message] = field(default_factory=dict)
    held_since_ns: int = 0
    asked_ns: int = NEVER_NS

    def member(self, device: str) -> Member:
        """The device of that name, or the node itself."""
        return self.members.setdefault(device, Member(self, device))

    def in_turn(self) -> list[Message]:
        """What is held, in the order of its numbers; it is held no more."""
        ahead = sorted(self.held.items(), key=lambda one: (one[0] - self.next_seq) % SEQ_COUNT)
        self.held = {}
        return [message for _, message in ahead]


class Address(NamedTuple):
    """Whose message it is, and which."""

    topic: str
    message: str
    node: Node
    member: Member


class Message(NamedTuple):
    """A message that was received: `raw[at:end]` is its payload.

    timestamp_ms, seq, metrics : of its head: 0 for none, -1 for none, how many
    """

    address: Address
    raw: Raw
    at: int
    end: int
    timestamp_ms: int
    seq: int
    metrics: int
    received_ns: int

    @property
    def payload(self) -> bytes:
        """Its bytes."""
        return bytes(self.raw[self.at : self.end])

    @property
    def sent_ns(self) -> int:
        """When it says that it was sent, else when it was received."""
        said = 0 < self.timestamp_ms <= TIME_MS_MAX
        return self.timestamp_ms * 1_000_000 if said else self.received_ns

    def kept(self) -> Message:
        """The same with bytes of its own."""
        raw = np.frombuffer(self.payload, np.uint8)
        return self._replace(raw=raw, at=0, end=len(raw))
