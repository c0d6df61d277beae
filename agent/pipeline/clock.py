"""The agent's clock: UTC that never goes back, and steps of the gateway's clock are noticed.

Between two looks, the monotonic clock says how much time has passed; the system's says what time
it is. Where the system's clock steps forward, as it does when NTP finds a gateway that booted
without a battery, this one follows at once. Where it steps back, this one goes on at nine tenths of
the pace until the other has caught up: windows that were closed stay closed, and nothing is told
twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger("andon.clock")

STEP_NS: Final = 500_000_000
"""Smaller differences are not a step: chrony's slewing, a look that was late."""
SLEW_DIVISOR: Final = 10


class Clock:
    """Call `now_ns` instead of `time.time_ns`; from any thread."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.steps = 0
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._looked_ns = monotonic_ns()
        self._now_ns = wall_ns()
        self._ahead_ns = 0

    @property
    def ahead_ns(self) -> int:
        """How far this clock is ahead of the system's, which stepped back; 0 mostly."""
        return self._ahead_ns

    def now_ns(self) -> int:
        """What time it is, UTC."""
        with self._lock:
            looked_ns, wall_ns = self._monotonic_ns(), self._wall_ns()
            passed_ns = looked_ns - self._looked_ns
            self._looked_ns = looked_ns
            ahead_ns = self._now_ns + passed_ns - wall_ns
            stepped_ns = self._ahead_ns - ahead_ns
            if abs(stepped_ns) > STEP_NS:
                self._notice(stepped_ns)
            slewed_ns = max(min(ahead_ns, passed_ns // SLEW_DIVISOR), 0)
            if ahead_ns <= 0:
                self._now_ns = wall_ns
            else:
                self._now_ns += passed_ns - slewed_ns
            self._ahead_ns = max(ahead_ns - slewed_ns, 0)
            return self._now_ns

    def _notice(self, stepped_ns: int) -> None:
        self.steps += 1
        seconds = abs(stepped_ns) / 1e9
        if stepped_ns > 0:
            log.warning("the gateway's clock stepped %.1f s forward; the agent follows", seconds)
        else:
            log.warning(
                "the gateway's clock stepped %.1f s back; the agent's goes on, slower, until it "
                "has caught up", seconds,
            )  # fmt: skip
