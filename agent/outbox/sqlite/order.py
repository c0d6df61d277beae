"""The order in which committed lines go: which of them a sink's next packet carries.

Enters: the book and the table of blocks. Leaves: cuts, parts of blocks with ascending ids. Reads no
block and touches no disk, nothing here fails; costs a few searches for each run of ids, however
many blocks there are. Callers hold the outbox's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from agent.outbox import KEEP_AHEAD_MAX, RUNS_MAX
from agent.outbox.intervals import Interval
from agent.outbox.sqlite.book import Sink
from agent.outbox.sqlite.index import Index


@dataclass(frozen=True, slots=True)
class Cut:
    """Lines first..last of one block, and that block's ids."""

    first: int
    last: int
    block: Interval
    made_ns: int


def next_cuts(sink: Sink, index: Index, committed: int, lines_max: int) -> list[Cut]:
    """The next lines for this sink with ids up to `committed`; none where nothing waits."""
    ahead = len(sink.known) < KEEP_AHEAD_MAX and sink.keep.next_in(1) <= committed
    runs: Iterable[Interval] = sink.keep if ahead else _any(sink, committed)
    cuts: list[Cut] = []
    for first, last in islice(runs, RUNS_MAX):
        stop = min(last, first + lines_max - 1, committed) + 1
        found = _cuts(index, first, stop)
        cuts += found
        lines_max -= stop - first
        if not found or lines_max <= 0:
            break
    return cuts


def _any(sink: Sink, committed: int) -> Iterator[Interval]:
    first = sink.done.next_out(1)
    while first <= committed:
        stop = sink.done.next_in(first)
        yield first, stop - 1
        first = sink.done.next_out(stop)


def _cuts(index: Index, first: int, stop: int) -> list[Cut]:
    """Lines [first, stop); none where they are not stored just now."""
    if first >= stop:
        return []
    blocks = index.overlapping(first, stop - 1)
    if not len(blocks) or blocks["first"][0] > first:
        return []
    return [
        Cut(max(first, start), min(stop - 1, end), (start, end), made_ns)
        for start, end, made_ns in blocks[["first", "last", "made_ns"]].tolist()
    ]
