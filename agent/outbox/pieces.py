"""Pieces: lines of one class that were staged together, and are shed, dropped and stored together.

Enters: `Lines` as the pipeline makes them. Leaves: pieces of at most `PIECE_LINES_MAX` lines,
numbered one after the other. Nothing here fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from agent.lines import Lines
from agent.outbox import PIECE_LINES_MAX, LineClass

MOMENTARY: Final = b"gateway,"
"""How the gateway's own lines begin. They come every few seconds for ever, each says only how it
stood at that moment: in a long outage they must neither fill the outbox nor go before the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Lines of one class with consecutive ids.

    first : id of its first line
    made_ns : when it was staged, UTC
    early : it may be sent before it is durable
    """

    first: int
    line_class: LineClass
    lines: Lines
    made_ns: int
    early: bool

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def last(self) -> int:
        """Id of its last line."""
        return self.first + len(self.lines) - 1

    @property
    def revises(self) -> bool:
        """Whether it revises windows: then it never goes before its commit, nor past others."""
        return bool((self.lines.windows["rev"] > 0).any())


def split(lines: Lines, first: int, made_ns: int, *, early: bool) -> Iterator[Piece]:
    """These lines as pieces, the first of them with the id `first`."""
    start = 0
    for line_class, count in _runs(lines):
        stop = start + count
        for at in range(start, stop, PIECE_LINES_MAX):
            part = _own_texts(lines.part(at, min(at + PIECE_LINES_MAX, stop)))
            yield Piece(first + at, line_class, part, made_ns, early)
        start = stop


def _runs(lines: Lines) -> Iterator[tuple[LineClass, int]]:
    """How many lines of which class follow each other."""
    yield LineClass.WINDOW, len(lines.windows)
    yield LineClass.RAW, len(lines.samples)
    for momentary, run in groupby(lines.ready, lambda line: line.startswith(MOMENTARY)):
        yield (LineClass.RAW if momentary else LineClass.KEEP), len(list(run))


def _own_texts(lines: Lines) -> Lines:
    """With only the texts that its samples use."""
    if not lines.texts:
        return lines
    used, place = np.unique(lines.samples["text"], return_inverse=True)
    samples = lines.samples.copy()
    none = int(used.size > 0 and used[0] < 0)
    samples["text"] = place - none
    return Lines(lines.windows, samples, tuple(lines.texts[i] for i in used[none:]), lines.ready)
