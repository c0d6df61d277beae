"""How often each window was revised: `rev` 1, 2, ... by its signal and start.

Remembered only while a window can be revised once more, and of at most REVISIONS_MAX windows: those
that are forgotten beyond that, the oldest first, go on from the highest `rev` of all such windows,
so that `rev` never goes back.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

REVISIONS_MAX: Final = 200_000
"""16 bytes each."""

KNOWN: Final = np.dtype([("signal", np.int32), ("rev", np.int32), ("start_ns", np.int64)])

Array = npt.NDArray[Any]


class Revisions:
    """The revisions so far; `known` and `forgotten` are its state.

    known : (k,) KNOWN, each window once; forgotten : the highest `rev` of windows forgotten early
    """

    def __init__(self, revisions_max: int = REVISIONS_MAX) -> None:
        self.known: Array = np.empty(0, KNOWN)
        self.forgotten = 0
        self._max = revisions_max

    def number(self, rows: Array, final_ns: Array) -> Array:
        """These windows, each once (the last of equal ones), with their `rev`.

        rows : (n,) of dtype `agent.lines.WINDOW`
        final_ns : (m,) int64, what starts before it is not revised any more, by signal
        """
        rows = rows[_last_of_each(rows)]
        added = np.empty(len(rows), KNOWN)
        added["signal"], added["start_ns"], added["rev"] = rows["signal"], rows["start_ns"], 0
        both = np.concatenate([self.known, added])
        order = np.lexsort((both["start_ns"], both["signal"]))  # stable: known before added
        both = both[order]
        again = _same_as_next(both)
        both["rev"][1:][again] = both["rev"][:-1][again] + 1
        both["rev"][both["rev"] == 0] = self.forgotten + 1
        where = np.empty(len(order), np.int64)
        where[order] = np.arange(len(order))
        rows["rev"] = both["rev"][where[len(self.known) :]]
        keep = np.ones(len(both), np.bool_)
        keep[:-1][again] = False
        self._remember(both[keep], final_ns)
        return rows

    def _remember(self, known: Array, final_ns: Array) -> None:
        known = known[known["start_ns"] >= final_ns[known["signal"]]]
        beyond = len(known) - self._max
        if beyond > 0:
            oldest = np.argsort(known["start_ns"], kind="stable")[:beyond]
            self.forgotten = max(self.forgotten, int(known["rev"][oldest].max()))
            known = np.delete(known, oldest)
        self.known = known


def _last_of_each(rows: Array) -> Array:
    """Indices of the rows, by signal and start, of equal ones the last."""
    order = np.lexsort((rows["start_ns"], rows["signal"]))
    last = np.ones(len(rows), np.bool_)
    last[:-1] = ~_same_as_next(rows[order])
    kept: Array = order[last]
    return kept


def _same_as_next(rows: Array) -> Array:
    """(n - 1,) bool, of rows in order: whether each is of the same window as the next."""
    same: Array = (rows["signal"][1:] == rows["signal"][:-1]) & (
        rows["start_ns"][1:] == rows["start_ns"][:-1]
    )
    return same
