"""A subscription of the bench's server: its items, cut into messages that are sent in turn.

Enters: monitored items, as they come and go. Leaves: the message that is next. It cannot fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.cli.bench.opcua.messages import Item, Message


@dataclass(eq=False)
class Subscription:
    """One subscription: its items, cut into messages.

    keep_alive_s : after so long without a message it says that it lives
    sent_s : when it last said something, on the monotonic clock
    """

    number: int
    per_message: int
    keep_alive_s: float
    sent_s: float = 0.0
    sequence: int = 1
    _items: dict[int, Item] = field(default_factory=dict)
    _made: int = 0
    _has_server_time: bool = True
    _messages: list[Message] = field(default_factory=list)
    _next: int = 0

    def next(self) -> Message | None:
        """The next message of its round; None while it has no items."""
        if not self._messages:
            return None
        self._next = (self._next + 1) % len(self._messages)
        return self._messages[self._next]

    def add(self, items: Sequence[Item], has_server_time: bool) -> list[int]:
        """The numbers of new items."""
        numbers = list(range(self._made + 1, self._made + 1 + len(items)))
        self._made += len(items)
        self._has_server_time = has_server_time
        self._items |= dict(zip(numbers, items, strict=True))
        self._cut()
        return numbers

    def remove(self, numbers: Sequence[int]) -> list[bool]:
        """Which of these items there were; they are gone."""
        known = [self._items.pop(number, None) is not None for number in numbers]
        self._cut()
        return known

    def _cut(self) -> None:
        items = list(self._items.values())
        self._messages = [
            Message(items[begin : begin + self.per_message], self._has_server_time)
            for begin in range(0, len(items), self.per_message)
        ]
        self._next = 0
