"""How many messages a broker sends ahead of their acknowledgement, learned from what it does.

Enters: messages that came and were acknowledged. Leaves: whether a commit is urgent, since the
broker may wait for it. Nothing fails.

By MQTT 3.1.1 the number is the broker's own (mosquitto: `max_inflight_messages`, 20 as a rule; 1
is advised where order matters), by MQTT 5 at most `RECEIVE_MAX`. What was once on the way may be
again. A broker that falls silent, and sends on as soon as all is acknowledged, several times, had
waited.
"""

from __future__ import annotations

import math
from typing import Final

from agent.sources import REDELIVERED_MAX

RECEIVE_MAX: Final = REDELIVERED_MAX // 2
"""Messages that a broker of MQTT 5 is allowed to send ahead: fewer than are known again."""
WINDOW_MIN: Final = 20
"""What is believed of a broker at first."""
AT_ONCE_S: Final = 0.15
"""Who sends within this after an acknowledgement had waited for it; it includes our own reading."""
PROOFS: Final = 3


class Window:
    """The messages of one connection that wait for their acknowledgement."""

    def __init__(self) -> None:
        self.waiting = 0
        self._size = WINDOW_MIN
        self._peak = 0
        self._eased = 0
        self._proofs = 0
        self._came_s = self._eased_s = -math.inf

    @property
    def urgent(self) -> bool:
        """Whether the broker may wait soon: half of what it sends ahead waits for a commit."""
        return 0 < self._size <= 2 * self.waiting

    def came(self, messages: int, now_s: float) -> None:
        """So many came, at a moment of the monotonic clock."""
        if self._eased:
            at_once = now_s - self._eased_s <= AT_ONCE_S
            self._proofs = self._proofs + 1 if at_once else 0
            if self._proofs >= PROOFS:
                self._size = min(self._size, self._eased)
            self._eased = 0
        self._came_s = now_s
        self.waiting += messages
        self._peak = max(self._peak, self.waiting)
        self._size = min(max(self._size, self.waiting), RECEIVE_MAX)

    def acknowledged(self, messages: int, now_s: float) -> None:
        """So many were acknowledged."""
        self.waiting -= messages
        if self.waiting == 0:
            was_silent = now_s - self._came_s > AT_ONCE_S
            self._eased, self._eased_s, self._peak = self._peak if was_silent else 0, now_s, 0
