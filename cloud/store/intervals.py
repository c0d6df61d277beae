"""What became of the lines of an outbox: sets of closed intervals of line ids.

Enters: the ids of each write's lines, and ids its gateway says will never come (void). Leaves:
which ids are received, void or in a hole; every id up to the highest known is exactly one of these.
Received is a fact and wins: an id that came is not void, whatever was said. Nothing here fails.

Both sets are bounded. Beyond the bound the oldest hole is given up, or the oldest void interval:
their ids count as received from then on, are counted, and prove no repeat.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from agent.outbox.intervals import Interval, Intervals, count

COUNT_MAX = 2**63 - 1
"""Ids are up to 64 bits, and so are counts of them: one that would grow larger stays there."""


@dataclass(frozen=True, slots=True)
class Received:
    """What has come from one outbox, and what never will; its sets are never changed.

    covered : ids that are received or void.
    void : those of them that will never come.
    void_forgotten : void ids whose intervals were given up.
    repeats : ids that came more than once.
    holes_forgotten : holes given up.
    forgotten_last : the highest id given up; up to there no write is taken for a repeat.
    gateway : the identity in the newest gateway line that came from this outbox.
    window_end_ns : the end of the newest window that came from it, by the gateway's clock.
    written_ns : when it wrote last, by ours.
    """

    covered: Intervals = field(default_factory=Intervals)
    void: Intervals = field(default_factory=Intervals)
    void_forgotten: int = 0
    repeats: int = 0
    holes_forgotten: int = 0
    forgotten_last: int = 0
    gateway: str | None = None
    window_end_ns: int | None = None
    written_ns: int | None = None

    @property
    def received(self) -> list[Interval]:
        """Ids that have come."""
        return [came for known in self.covered for came in self.void.missing(*known)]

    @property
    def void_total(self) -> int:
        """How many ids will never come."""
        return min(self.void_forgotten + self.void.total, COUNT_MAX)

    @property
    def holes(self) -> list[Interval]:
        """Ids that are missing, up to the highest known; ids start at 1."""
        highest = max((last for _, last in self.covered), default=0)
        return self.covered.missing(1, highest)

    def holds(self, first: int, last: int) -> bool:
        """Whether every id from `first` to `last` has come, beyond doubt."""
        return (
            first > self.forgotten_last
            and self.covered.holds(first, last)
            and not self.void.within(first, last)
        )


def take(
    known: Received,
    came: Iterable[Interval] = (),
    told: Iterable[Interval] = (),
    *,
    intervals_max: int,
    void_intervals_max: int,
) -> Received:
    """`known` after a write: ids that came, and ids told void (inclusive, first <= last)."""
    covered, void, repeats = known.covered.copy(), known.void.copy(), known.repeats
    for interval in came:
        repeats += count(covered.within(*interval)) - count(void.within(*interval))
        covered.add(*interval)
        void.remove(*interval)
    for interval in told:
        for new in covered.missing(*interval):
            covered.add(*new)
            void.add(*new)
    known = replace(known, covered=covered, void=void, repeats=min(repeats, COUNT_MAX))
    return _bounded(known, intervals_max, void_intervals_max)


def _bounded(known: Received, intervals_max: int, void_intervals_max: int) -> Received:
    """`known` within its bounds; its sets are new and may be changed here."""
    covered, void, forgotten_last = known.covered, known.void, known.forgotten_last
    holes = max(0, len(covered) - intervals_max)
    if holes:
        oldest = covered.head(holes + 1)
        covered.add(oldest[0][0], oldest[-1][1])
        forgotten_last = max(forgotten_last, oldest[-1][0] - 1)
    unnamed = void.head(max(0, len(void) - void_intervals_max))
    for interval in unnamed:
        void.remove(*interval)
        forgotten_last = max(forgotten_last, interval[1])
    return replace(
        known,
        void_forgotten=min(known.void_forgotten + count(unnamed), COUNT_MAX),
        holes_forgotten=known.holes_forgotten + holes,
        forgotten_last=forgotten_last,
    )
