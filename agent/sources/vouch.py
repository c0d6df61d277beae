"""Until when a source may vouch for its signals' silence.

A source that has heard nothing newer may say "unchanged until now", less an allowance for what is
still on its way: sampling, sending, and machines whose clock runs behind. The allowance starts
small and is widened when a sample proves it too small, by arriving with a time that was already
vouched for; it shrinks again to what was needed in the last `FORGET_NS`. Machines more than
`ALLOWANCE_MAX_NS` behind are not waited for: their samples are late and revise windows.
"""

from __future__ import annotations

from typing import Final

from agent.batch import Int64

ALLOWANCE_MAX_NS: Final = 10_000_000_000
FORGET_NS: Final = 60_000_000_000
MARGIN: Final = 4
"""A widened allowance has a quarter to spare."""


class Vouch:
    """The allowance of one connection. Times are in nanoseconds of the vouching side's clock.

    vouched_ns : until when was vouched so far
    """

    def __init__(self, least_ns: int) -> None:
        self.allowance_ns = least_ns
        self._least_ns = least_ns
        self._longest_ns = 0
        self.vouched_ns = 0
        self._since_ns = 0

    def allow(self, least_ns: int) -> None:
        """Allow at least this much from now on."""
        self._least_ns = max(self._least_ns, least_ns)
        self.allowance_ns = max(self.allowance_ns, least_ns)

    def take(self, time_ns: Int64, now_ns: int) -> None:
        """Learn from samples that have just come; time_ns : (n,) int64, their own times."""
        waited_for = time_ns[time_ns >= now_ns - ALLOWANCE_MAX_NS]
        if waited_for.size == 0:
            return
        oldest_ns = int(waited_for.min())
        lag_ns = now_ns - oldest_ns
        self._longest_ns = max(self._longest_ns, lag_ns)
        if oldest_ns < self.vouched_ns and lag_ns > self.allowance_ns:
            self.allowance_ns = self._with_margin(lag_ns)

    def until(self, now_ns: int) -> int:
        """Until when to vouch; it never goes back."""
        if now_ns - self._since_ns > FORGET_NS:
            needed_ns = self._with_margin(self._longest_ns)
            self.allowance_ns = max(self._least_ns, min(self.allowance_ns, needed_ns))
            self._longest_ns, self._since_ns = 0, now_ns
        self.vouched_ns = max(self.vouched_ns, now_ns - self.allowance_ns)
        return self.vouched_ns

    @staticmethod
    def _with_margin(lag_ns: int) -> int:
        return min(lag_ns + lag_ns // MARGIN, ALLOWANCE_MAX_NS)
