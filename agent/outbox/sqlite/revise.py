"""Finding the windows that revisions replace.

Enters: revisions that are about to be committed. Leaves: pairs of ids, a revision and a window it
revises, the same signal, width and start. Which of these may really be replaced is the book's
business. Costs nothing when there are no revisions, and one pass over the blocks that can hold
their predecessors otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from agent.lines import Rows
from agent.outbox.pieces import Piece

Key = tuple[int, int, int]


class Revisions:
    """The revisions of one commit."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._newest: dict[Key, int] = {}
        for piece in pieces:
            for place in np.flatnonzero(piece.lines.windows["rev"] > 0):
                self._newest[_key(piece.lines.windows[place])] = piece.first + int(place)
        self.starts_ns = np.unique(np.array([key[2] for key in self._newest], np.int64))

    def __len__(self) -> int:
        return len(self._newest)

    def pairs(self, parts: Iterable[tuple[int, Rows]]) -> Iterator[tuple[int, int]]:
        """Revision and predecessor, among these parts: first id and windows."""
        for first, rows in parts:
            for place in np.flatnonzero(np.isin(rows["start_ns"], self.starts_ns)):
                newest = self._newest.get(_key(rows[place]), 0)
                if first + place < newest:
                    yield newest, first + int(place)


def _key(row: Rows) -> Key:
    return int(row["signal"]), int(row["every_ns"]), int(row["start_ns"])
