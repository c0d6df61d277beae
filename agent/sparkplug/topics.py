"""Sparkplug topics (Sparkplug 3.0, chapter 4): `spBv1.0/group/message/node[/device]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "spBv1.0"
STATE: Final = "STATE"
NODE_MESSAGES: Final = ("NBIRTH", "NDEATH", "NDATA", "NCMD")
DEVICE_MESSAGES: Final = ("DBIRTH", "DDEATH", "DDATA", "DCMD")
MESSAGES: Final = NODE_MESSAGES + DEVICE_MESSAGES
_RESERVED: Final = frozenset("+/#")


@dataclass(frozen=True, slots=True)
class Topic:
    """Where a message of a node, or of one of its devices, is published.

    device : "" for a message of the node itself

    Raises ValueError for what cannot be one.
    """

    group: str
    message: str
    node: str
    device: str = ""

    def __post_init__(self) -> None:
        if self.message not in MESSAGES:
            raise ValueError(f"{self.message!r} is not a Sparkplug message")
        if (self.message in DEVICE_MESSAGES) != bool(self.device):
            which = "needs" if self.message in DEVICE_MESSAGES else "has no"
            raise ValueError(f"a {self.message} {which} device")
        for name in (self.group, self.node):
            if not name:
                raise ValueError("group and node must have a name")
        for name in (self.group, self.node, self.device):
            if _RESERVED & set(name):
                raise ValueError(f"{name!r} must not contain +, / or #")

    def __str__(self) -> str:
        topic = f"{NAMESPACE}/{self.group}/{self.message}/{self.node}"
        return f"{topic}/{self.device}" if self.device else topic

    @classmethod
    def parse(cls, topic: str) -> Topic:
        """The parts of a topic. Raises ValueError where it is not Sparkplug's (STATE is not)."""
        levels = topic.split("/")
        if levels[0] != NAMESPACE or not 4 <= len(levels) <= 5 or not all(levels):
            raise ValueError(f"{topic!r} is not {NAMESPACE}/group/message/node[/device]")
        return cls(levels[1], levels[2], levels[3], levels[4] if len(levels) == 5 else "")


def state_topic(host: str) -> str:
    """Where the host application of that id says whether it is online."""
    return f"{NAMESPACE}/{STATE}/{host}"
