"""Which lines of an outbox have been received: a set of closed intervals of line ids.

Enters: the ids `first`-`last` of each write. Leaves: intervals, sorted, disjoint and never
touching, so that every gap between two of them is a hole that can be named. Pure functions;
nothing here fails.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Received:
    """What has come from one outbox.

    received : closed intervals of line ids.
    repeats : ids that came more than once.
    holes_forgotten : holes given up because `intervals_max` was reached.
    gateway : the identity in the newest gateway line that came from this outbox.
    """

    received: tuple[Interval, ...] = ()
    repeats: int = 0
    holes_forgotten: int = 0
    gateway: str | None = None

    @property
    def holes(self) -> list[Interval]:
        """Ids that are missing: between the intervals, and before the first (ids start at 1)."""
        ends = [0] + [last for _, last in self.received]
        starts = [first for first, _ in self.received]
        return [
            (end + 1, start - 1)
            for end, start in zip(ends, starts, strict=False)
            if end + 1 < start
        ]

    def of(self, gateway: str) -> "Received":
        """The same, known to come from `gateway`."""
        return replace(self, gateway=gateway)

    def holds(self, first: int, last: int) -> bool:
        """Whether every id from `first` to `last` has been received."""
        place = bisect_right(self.received, first, key=lambda interval: interval[0]) - 1
        return place >= 0 and last <= self.received[place][1]


def add(known: Received, first: int, last: int, *, intervals_max: int) -> Received:
    """`known` with the ids `first`-`last` (inclusive, first <= last) received once more.

    Beyond `intervals_max` intervals the oldest hole is given up and counted.
    """
    intervals = known.received
    low = bisect_left(intervals, first - 1, key=lambda interval: interval[1])
    high = bisect_right(intervals, last + 1, key=lambda interval: interval[0])
    met = intervals[low:high]
    repeats = sum(max(0, min(last, end) - max(first, start) + 1) for start, end in met)
    joined = (min(first, met[0][0]), max(last, met[-1][1])) if met else (first, last)
    merged = (*intervals[:low], joined, *intervals[high:])
    forgotten = known.holes_forgotten
    if len(merged) > intervals_max:
        merged = ((merged[0][0], merged[1][1]), *merged[2:])
        forgotten += 1
    return replace(
        known, received=merged, repeats=known.repeats + repeats, holes_forgotten=forgotten
    )
