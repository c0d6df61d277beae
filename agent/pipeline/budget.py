"""The write budget: how often to commit, so that the disk lasts as long as it should.

A commit costs some pages however little it holds, so the interval decides what a disk is asked to
write. It is doubled or shortened by what was measured, between `INTERVAL_MIN_S` and
`INTERVAL_MAX_S`; a fixed interval is kept, and what it costs is said all the same.
"""

from __future__ import annotations

from typing import Final

DAY_S: Final = 86_400.0
INTERVAL_MIN_S: Final = 0.1
INTERVAL_MAX_S: Final = 10.0
FIRST_S: Final = 1.0
LOOK_S: Final = 10.0
"""What was written is looked at this often."""
OVER: Final = 1.25
"""What is a little more for a while is not worth a word."""
FADE_S: Final = 120.0
"""The rate is that of the last minutes: it tells a busy hour from one large write."""


class WriteBudget:
    """Decides the commit interval; `look` is told what has been written so far.

    bytes_per_day : what the disk may be asked to write
    fixed_s : the interval, where it is not to be decided
    """

    def __init__(self, bytes_per_day: float, fixed_s: float | None, now_s: float) -> None:
        self.interval_s = FIRST_S if fixed_s is None else fixed_s
        self.bytes_per_day = 0.0
        self._allowed = bytes_per_day
        self._is_fixed = fixed_s is not None
        self._looked_s = now_s
        self._written = 0
        self._seen_s = 0.0

    @property
    def gb_per_day(self) -> float:
        """What the disk is asked to write at the present rate, in 10^9 bytes a day."""
        return self.bytes_per_day / 1e9

    @property
    def allowed_gb_per_day(self) -> float:
        """What it may be asked to write, in 10^9 bytes a day."""
        return self._allowed / 1e9

    @property
    def is_over(self) -> bool:
        """Whether that is more than it should be, for some minutes now."""
        return self._seen_s >= FADE_S and self.bytes_per_day > OVER * self._allowed

    def look(self, written: int, now_s: float) -> None:
        """`written` bytes since the start, at `now_s` of a monotonic clock."""
        passed_s = now_s - self._looked_s
        if passed_s < LOOK_S:
            return
        rate = (written - self._written) / passed_s * DAY_S
        self._seen_s = min(self._seen_s + passed_s, FADE_S)
        self.bytes_per_day += (rate - self.bytes_per_day) * min(passed_s / self._seen_s, 1.0)
        self._looked_s, self._written = now_s, written
        if not self._is_fixed:
            wanted_s = self.interval_s * min(max(rate / self._allowed, 0.5), 2.0)
            self.interval_s = min(max(wanted_s, INTERVAL_MIN_S), INTERVAL_MAX_S)
