"""What a sink is sent next: live lines first, what has waited beside them at a bounded rate.

Enters: the outbox's two lanes. Leaves: one packet at a time. The backlog has its turn when no live
line waits, and once in `backlog_share_s` although some do. Its packets are spaced so that it stays
below `backlog_lines_per_s`; none carries more than a second's worth of lines, so that a low rate
makes small packets and not long pauses. Turns alternate even when nothing is taken, so that a lane
full of wrong lines cannot keep the other one from proving the far side right.
"""

from __future__ import annotations

import time

from agent.forward.limits import Limits
from agent.lines import Packet
from agent.outbox import Outbox


class Lanes:
    """Chooses between the two lanes of one sink.

    pause_s : until the backlog may be asked again; None where it had its say
    live : whether the packet chosen last is of the live lane
    live_waits : whether there was a live line when it was last looked for
    """

    def __init__(self, outbox: Outbox, sink: str, limits: Limits) -> None:
        self._outbox = outbox
        self._sink = sink
        self._limits = limits
        self._backlog_at = self._free_at = time.monotonic()
        self.pause_s: float | None = None
        self.live = False
        self.live_waits = False

    def next(self, lines_max: int) -> Packet | None:
        """The packet to send now, at most `lines_max` lines; None where there is none."""
        now_s, self.pause_s = time.monotonic(), None
        if self.live and now_s - self._backlog_at >= self._limits.backlog_share_s:
            packet = self._backlog(now_s, lines_max)
            if packet is not None:
                return packet
        packet = self._outbox.packet(self._sink, lines_max, live=True)
        self.live = self.live_waits = packet is not None
        return self._backlog(now_s, lines_max) if packet is None else packet

    def _backlog(self, now_s: float, lines_max: int) -> Packet | None:
        if now_s < self._free_at:
            self.pause_s = self._free_at - now_s
            return None
        rate = self._limits.backlog_lines_per_s
        packet = self._outbox.packet(self._sink, min(lines_max, rate), live=False)
        if packet is not None:
            self._backlog_at, self._free_at = now_s, now_s + len(packet) / rate
            self.live = False
        return packet
