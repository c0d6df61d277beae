"""Lines in memory: those that no commit has taken yet, and young ones for the live lane.

Enters: pieces, as they are staged. Leaves: runs of lines that may go at once, the pieces a commit
must store, and what is shed when there are too many. Touches no disk, nothing here fails; callers
hold the outbox's lock.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from agent.lines import LIVE_NS, Lines
from agent.outbox import SHED_SHARE, LineClass
from agent.outbox.intervals import END, Intervals
from agent.outbox.pieces import Piece
from agent.outbox.sqlite.book import Book, Sink

RECENT_LINES_MAX: Final = 1 << 18
"""Stored lines that are kept in memory for the live lane; beyond it the oldest go in order."""


@dataclass(slots=True)
class Staged:
    """A piece in memory.

    live : it may go by the live lane
    stored : it is on disk too
    waits : it is neither stored nor settled, as far as was looked
    blob : what the disk is to hold of it, until it does
    """

    piece: Piece
    live: bool
    stored: bool = False
    waits: bool = True
    blob: bytes = b""


class Staging:
    """The pieces in memory, by ascending ids."""

    def __init__(self, book: Book, lines_max: int) -> None:
        self._book = book
        self._lines_max = lines_max
        self._lines = 0
        self.pieces: list[Staged] = []
        self.reserved = 0
        """Ids above are not safe to send: after a crash they would be given out again."""
        self.hidden_after = END
        """Ids above are not sent just now: a commit is counting what lies below."""

    @property
    def lines(self) -> int:
        """Lines of pieces that are neither stored nor settled."""
        self._look()
        return self._lines

    def unstored(self) -> list[Staged]:
        """What the next commit must store, now that it knows who has what."""
        self._look()
        return [staged for staged in self.pieces if staged.waits]

    def add(self, piece: Piece) -> None:
        """Take in one more piece."""
        self.pieces.append(Staged(piece, live=not piece.revises))
        self._lines += len(piece)

    def store(self, staged: Staged) -> None:
        """It is on disk now."""
        staged.stored, staged.blob = True, b""
        self._waits(staged, False)

    def lose(self) -> None:
        """What was on disk is not any more."""
        for staged in self.pieces:
            staged.stored = False
            self._waits(staged, not self._settled(staged.piece))

    def shed(self) -> int:
        """Drop the least valuable pieces when there are too many lines; how many lines."""
        excess, lines = self.lines - self._lines_max, 0
        if excess <= 0:
            return 0
        excess += int(self._lines_max * SHED_SHARE)
        for staged in sorted(self.unstored(), key=lambda s: (s.piece.line_class, s.piece.first)):
            piece = staged.piece
            if excess <= 0:
                break
            if piece.last <= self.hidden_after and not self._book.flying(piece.first, piece.last):
                lines += self._book.drop(piece.first, piece.last, "overload")
                excess -= len(piece)
        return lines

    def tidy(self, now_ns: int) -> None:
        """Let go of pieces that are settled, and of stored ones that are live no more."""
        self._look()
        kept, stored = [], 0
        for staged in reversed(self.pieces):
            piece = staged.piece
            if self._settled(piece):
                if not staged.stored:
                    self._book.forgotten(piece.first, piece.last)
                continue
            if staged.stored:
                stored += len(piece)
                young = staged.live and abs(now_ns - piece.made_ns) < LIVE_NS
                if not young or stored > RECENT_LINES_MAX:
                    continue
            kept.append(staged)
        self.pieces = kept[::-1]

    def made_ns(self, number: int) -> list[int]:
        """When the first piece with this id or a higher one was made; [] where there is none."""
        place = self._place(number)
        return [staged.piece.made_ns for staged in self.pieces[place : place + 1]]

    def live_run(self, sink: Sink, lines_max: int, now_ns: int) -> tuple[int, int, list[Lines]]:
        """First id, made_ns and the lines of the oldest run that this sink may have at once."""
        first = made_ns = 0
        found: list[Lines] = []
        at, keep = 1, sink.keep.next_in(1)
        for staged in self.pieces:
            piece = staged.piece
            if found and piece.first != at:
                break
            if not self._goes(staged, now_ns):
                if found:
                    break
                continue
            start = sink.done.next_out(piece.first)
            overtakes = piece.line_class is LineClass.KEEP and keep < (first or start)
            if start > piece.last or overtakes or (found and start != at):
                if found:
                    break
                continue
            stop = min(piece.last + 1, sink.done.next_in(start), start + lines_max)
            if not found:
                first, made_ns = start, piece.made_ns
            found.append(piece.lines.part(start - piece.first, stop - piece.first))
            lines_max -= stop - start
            at = stop
            if not lines_max or at <= piece.last:
                break
        return first, made_ns, found

    def _goes(self, staged: Staged, now_ns: int) -> bool:
        piece = staged.piece
        return (
            staged.live
            and (staged.stored or piece.early)
            and piece.last <= min(self.reserved, self.hidden_after)
            and abs(now_ns - piece.made_ns) < LIVE_NS
        )

    def _look(self) -> None:
        """Which pieces have been settled since it was last looked: those that are all."""
        unseen, self._book.unseen = self._book.unseen, Intervals()
        for first, last in unseen:
            for at in range(self._place(first), len(self.pieces)):
                staged = self.pieces[at]
                if staged.piece.first > last:
                    break
                if staged.waits and self._settled(staged.piece):
                    self._waits(staged, False)

    def _waits(self, staged: Staged, waits: bool) -> None:
        self._lines += len(staged.piece) * (waits - staged.waits)
        staged.waits = waits

    def _place(self, number: int) -> int:
        """Where the pieces begin that hold this id or higher ones."""
        return bisect_left(self.pieces, number, key=lambda staged: staged.piece.last)

    def _settled(self, piece: Piece) -> bool:
        return self._book.settled.holds(piece.first, piece.last)
