"""Sets of line ids as closed intervals: sorted, disjoint, never touching.

Two flat arrays of 64-bit numbers, since a full outbox that has let go of every raw block between
its windows holds some hundred thousand intervals. Adding and removing cost O(log n) and the
moving of what lies behind. Nothing here fails; every `first` must be <= its `last`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

Interval = tuple[int, int]

END: Final = (1 << 62) - 1
"""Above every id."""


class Intervals:
    """A set of whole numbers that mostly come in runs."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._firsts: array[int] = array("q")
        self._lasts: array[int] = array("q")
        for first, last in intervals:
            self.add(first, last)

    def __iter__(self) -> Iterator[Interval]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many intervals, not how many numbers."""
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Intervals({list(self)})"

    @property
    def total(self) -> int:
        """How many numbers are in it."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def head(self, intervals_max: int) -> tuple[Interval, ...]:
        """Its lowest intervals, at most so many."""
        firsts, lasts = self._firsts[:intervals_max], self._lasts[:intervals_max]
        return tuple(zip(firsts, lasts, strict=True))

    def add(self, first: int, last: int) -> None:
        """Take in first..last."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = array("q", (first,))
        self._lasts[low:high] = array("q", (last,))

    def remove(self, first: int, last: int) -> None:
        """Leave out first..last."""
        low, high = self._met(first, last)
        if low == high:
            return
        start, end = self._firsts[low], self._lasts[high - 1]
        rest = [(start, first - 1)] * (start < first) + [(last + 1, end)] * (end > last)
        self._firsts[low:high] = array("q", [piece[0] for piece in rest])
        self._lasts[low:high] = array("q", [piece[1] for piece in rest])

    def within(self, first: int, last: int) -> list[Interval]:
        """What of first..last is in it."""
        low, high = self._met(first, last)
        return [(max(first, self._firsts[i]), min(last, self._lasts[i])) for i in range(low, high)]

    def missing(self, first: int, last: int) -> list[Interval]:
        """What of first..last is not in it."""
        found, at = [], first
        for start, end in self.within(first, last):
            if start > at:
                found.append((at, start - 1))
            at = end + 1
        if at <= last:
            found.append((at, last))
        return found

    def holds(self, first: int, last: int) -> bool:
        """Whether all of first..last is in it."""
        place = bisect_right(self._firsts, first) - 1
        return place >= 0 and last <= self._lasts[place]

    def next_in(self, number: int) -> int:
        """The lowest number >= `number` that is in it; `END` when there is none."""
        place = bisect_left(self._lasts, number)
        return max(number, self._firsts[place]) if place < len(self._firsts) else END

    def next_out(self, number: int) -> int:
        """The lowest number >= `number` that is not in it."""
        place = bisect_left(self._lasts, number)
        if place < len(self._firsts) and self._firsts[place] <= number:
            return self._lasts[place] + 1
        return number

    def copy(self) -> Intervals:
        """A set of its own with the same numbers."""
        copy = Intervals()
        copy._firsts, copy._lasts = self._firsts[:], self._lasts[:]
        return copy

    def document(self) -> list[int]:
        """As plain JSON: for each interval its distance from the one before, and its length."""
        flat, at = [], 0
        for first, last in self:
            flat += [first - at, last - first + 1]
            at = last
        return flat

    @classmethod
    def from_document(cls, flat: Sequence[int]) -> Intervals:
        """What `document` wrote."""
        found, at = cls(), 0
        for distance, length in zip(flat[::2], flat[1::2], strict=True):
            found._firsts.append(at + distance)
            at += distance + length - 1
            found._lasts.append(at)
        return found

    def _met(self, first: int, last: int) -> tuple[int, int]:
        return bisect_left(self._lasts, first), bisect_right(self._firsts, last)


def count(intervals: Iterable[Interval]) -> int:
    """How many numbers these disjoint intervals hold."""
    return sum(last - first + 1 for first, last in intervals)
