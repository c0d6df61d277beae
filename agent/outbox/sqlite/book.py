"""The book: who has which line. It counts; it holds no lines and touches no disk.

Enters: ids that were made, acknowledged, dropped, replaced. Leaves: what each sink still needs,
what it is to be told, the ledger, and the document that makes all of it durable. Nothing here
fails; callers hold the outbox's lock.

Only little of it is written with a commit. What lies outside the stored blocks is settled, and what
is done but not known to the far side is void: both are found again from the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from agent.ledger import LineLedger, SinkLedger
from agent.outbox import VOIDS_EAGER_MAX, VOIDS_MAX, DeadLetter
from agent.outbox.intervals import Interval, Intervals, count

PARTIAL_MAX: Final = 10_000
"""Settled intervals inside blocks that are still held; with more, nothing is replaced any more."""


@dataclass(slots=True)
class Sink:
    """One sink's side.

    done : ids it does not need (any more)
    known : ids its far side has, or was told that they are void
    void : done and not known
    rejected : ids it rejected that another sink still waits for
    keep : ids of ready lines that it needs, so that these need not be looked for among all
    in_flight : ids on their way
    """

    done: Intervals = field(default_factory=Intervals)
    known: Intervals = field(default_factory=Intervals)
    void: Intervals = field(default_factory=Intervals)
    rejected: Intervals = field(default_factory=Intervals)
    ledger: SinkLedger = field(default_factory=SinkLedger)
    keep: Intervals = field(default_factory=Intervals)
    in_flight: Intervals = field(default_factory=Intervals)


class Book:
    """All ids below `next_id`, and what became of them."""

    def __init__(self) -> None:
        self.next_id = 1
        self.lines = LineLedger()
        self.sinks: dict[str, Sink] = {}
        self.settled = Intervals()
        self.keep = Intervals()
        """Ids of ready lines that are not settled."""
        self.rejected = Intervals()
        """Ids that a sink rejected, gone or not, and that are not settled: counted already."""
        self.partial = Intervals()
        """Settled ids inside pieces that are still held, in memory or on disk."""
        self.fresh = Intervals()
        """Ids settled since the outbox last looked which blocks it may let go of."""
        self.unseen = Intervals()
        """Ids settled since it last looked which pieces in memory need no commit any more."""
        self.out = 0
        """Lines that far sides took or rejected since it was last asked."""

    def made(self, lines: int, keep: Iterable[Interval] = ()) -> None:
        """Give out this many ids; those in `keep` are ready lines'."""
        self._keep(keep)
        self.next_id += lines
        self.lines.made += lines
        for sink in self.sinks.values():
            sink.ledger.waiting += lines

    def acknowledge(
        self,
        sink: Sink,
        first: int,
        last: int,
        dead: Sequence[DeadLetter],
        void: Sequence[Interval],
        withheld: int,
    ) -> list[DeadLetter]:
        """See `Outbox.acknowledge`; answers the dead letters that are news."""
        new = sink.done.missing(first, last)
        letters = [
            letter
            for letter in dead
            if first <= letter.line_id <= last
            and not sink.done.holds(letter.line_id, letter.line_id)
        ]
        self._know(sink, [(first, last), *void])
        _finish(sink, first, last)
        for letter in letters:
            self._reject(sink, letter)
        taken = count(new) - len(letters)
        sink.ledger.waiting -= count(new)
        sink.ledger.acknowledged += taken
        sink.ledger.withheld += min(withheld, taken)
        self._settle(new)
        return letters

    def drop(self, first: int, last: int, cause: str) -> int:
        """These are lost, as far as they are not settled; answers how many that is."""
        parts = self.settled.missing(first, last)
        lost = count(parts) - sum(count(self.rejected.within(*part)) for part in parts)
        self.lines.dropped[cause] += lost
        self._void(parts)
        return lost

    def replace(self, number: int) -> None:
        """A revision has taken the place of this line."""
        self.lines.replaced += 1
        self._void([(number, number)])

    def untouched(self, number: int) -> bool:
        """Whether the line waits for every sink, was rejected by none and is on its way to none."""
        return not (
            self.flying(number, number)
            or self.rejected.holds(number, number)
            or any(sink.done.holds(number, number) for sink in self.sinks.values())
        )

    def flying(self, first: int, last: int) -> bool:
        """Whether one of these is on its way to some sink."""
        return any(sink.in_flight.next_in(first) <= last for sink in self.sinks.values())

    def voids(self, sink: Sink) -> tuple[Interval, ...]:
        """What to tell this sink next."""
        if len(sink.void) <= VOIDS_EAGER_MAX:
            return sink.void.head(VOIDS_MAX)
        waits = sink.done.next_out(1)
        return tuple(interval for interval in sink.void.head(VOIDS_MAX) if interval[1] < waits)

    def use_sinks(self, names: Sequence[str]) -> None:
        """From now on these are the sinks; new ones need what is not settled."""
        for name in names:
            if name not in self.sinks:
                waiting = self.next_id - 1 - self.settled.total
                self.sinks[name] = Sink(
                    self.settled.copy(), void=self.settled.copy(), keep=self.keep.copy(),
                    ledger=SinkLedger(0, waiting),
                )  # fmt: skip
        self.sinks = {name: self.sinks[name] for name in names}
        self._settle(self.settled.missing(1, self.next_id - 1) if self.next_id > 1 else [])

    def ledger(self) -> LineLedger:
        """The lines' side as it stands."""
        lines = self.lines.copy()
        accounted = lines.acknowledged + lines.replaced + lines.dropped.total()
        lines.waiting = lines.made - accounted - lines.dead_letter.total()
        return lines

    def forgotten(self, first: int, last: int) -> None:
        """The piece with these ids, all settled, is held no more."""
        self.partial.remove(first, last)

    def document(self, last: int) -> dict[str, Any]:
        """What must be kept of the ids up to `last`, as plain JSON; of later ones none is sent."""
        later = self.next_id - 1 - last
        lines = self.ledger()
        lines.made -= later
        lines.waiting -= later
        return {
            "next_id": last + 1,
            "lines": lines.document(),
            "rejected": self.rejected.document(),
            "partial": self.partial.document(),
            "sinks": {
                name: {
                    "known": sink.known.document(),
                    "rejected": sink.rejected.document(),
                    "ledger": asdict(replace(sink.ledger, waiting=sink.ledger.waiting - later)),
                }
                for name, sink in self.sinks.items()
            },
        }

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any],
        blocks: Iterable[Interval],
        keep: Iterable[Interval],
        next_id: int,
    ) -> Book:
        """What `document` wrote beside these blocks; ids from there to `next_id` are skipped.

        keep : those of the blocks that hold ready lines
        """
        book = cls()
        book.next_id = next_id
        book.lines = LineLedger.from_document(document["lines"])
        book.rejected = Intervals.from_document(document["rejected"])
        book.partial = Intervals.from_document(document["partial"])
        held = Intervals(blocks)
        for part in book.partial:
            held.remove(*part)
        book.settled = Intervals(held.missing(1, next_id - 1) if next_id > 1 else [])
        waiting = held.total - sum(count(held.within(*part)) for part in book.rejected)
        if lost := max(book.ledger().waiting - waiting, 0):  # blocks are not where they were
            book.lines.dropped["damaged"] += lost
        for name, stored in document["sinks"].items():
            sink = book.sinks[name] = Sink(known=Intervals.from_document(stored["known"]))
            sink.rejected = Intervals.from_document(stored["rejected"])
            sink.done = book.settled.copy()
            for part in (*sink.known, *sink.rejected):
                sink.done.add(*part)
            for part in sink.done:
                for void in sink.known.missing(*part):
                    sink.void.add(*void)
            sink.ledger = SinkLedger(**stored["ledger"])
        book._keep(keep)
        return book

    def _keep(self, made: Iterable[Interval]) -> None:
        for part in made:
            for held, gone in [(self.keep, self.settled)] + [
                (sink.keep, sink.done) for sink in self.sinks.values()
            ]:
                for waits in gone.missing(*part):
                    held.add(*waits)

    def _reject(self, sink: Sink, letter: DeadLetter) -> None:
        number = letter.line_id
        if not self.rejected.holds(number, number):
            self.rejected.add(number, number)
            self.lines.dead_letter[letter.cause] += 1
        sink.rejected.add(number, number)
        sink.known.remove(number, number)
        sink.void.add(number, number)
        sink.ledger.dead_letter += 1

    def _know(self, sink: Sink, told: Iterable[Interval]) -> None:
        for part in told:
            sink.known.add(*part)
            sink.void.remove(*part)

    def _void(self, parts: Iterable[Interval]) -> None:
        """These are never sent any more: whoever has not got them is told."""
        for part in parts:
            for sink in self.sinks.values():
                new = sink.done.missing(*part)
                for void in new:
                    sink.void.add(*void)
                sink.ledger.waiting -= count(new)
                _finish(sink, *part)
            self._forget(*part)

    def _settle(self, parts: Iterable[Interval]) -> None:
        """Count what of these parts, not settled before, is done for every sink."""
        if not self.sinks:
            return
        for sink in self.sinks.values():
            parts = [found for part in parts for found in sink.done.within(*part)]
        for first, last in parts:
            lines = last - first + 1
            self.out += lines
            self.lines.acknowledged += lines - count(self.rejected.within(first, last))
            self._forget(first, last)

    def _forget(self, first: int, last: int) -> None:
        self.settled.add(first, last)
        self.partial.add(first, last)
        self.fresh.add(first, last)
        self.unseen.add(first, last)
        self.rejected.remove(first, last)
        self.keep.remove(first, last)
        for sink in self.sinks.values():
            sink.rejected.remove(first, last)


def _finish(sink: Sink, first: int, last: int) -> None:
    sink.done.add(first, last)
    sink.keep.remove(first, last)
