"""What is known of the stored blocks without reading them: one row of a numpy table for each.

Enters: rows of the table `block`. Leaves: which blocks hold which ids, which hold windows that
revisions may replace, and which go first when there is no room. The table is replaced, never
changed, so that readers need no lock. 72 B a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.outbox import LineClass
from agent.outbox.intervals import Interval

BLOCK: Final = np.dtype(
    [
        ("first", np.int64),
        ("last", np.int64),
        ("line_class", np.int64),
        ("made_ns", np.int64),
        ("from_ns", np.int64),
        ("to_ns", np.int64),
        ("bytes", np.int64),
    ]
)
"""One block: its ids, when it was made, the starts of its first and last window, its size."""

Blocks = npt.NDArray[Any]


class Index:
    """The stored blocks by ascending ids."""

    def __init__(self, rows: Iterable[tuple[int, ...]] = ()) -> None:
        self._take(np.array(list(rows), BLOCK))

    @property
    def blocks(self) -> Blocks:
        """All of them."""
        return self._table[0]

    def change(self, gone: list[int], added: Iterable[tuple[int, ...]]) -> None:
        """Leave out the blocks with these first ids and take in new ones, which are the newest."""
        kept = self.blocks
        if len(gone):
            kept = kept[~np.isin(kept["first"], gone)]
        new = np.array(list(added), BLOCK)
        blocks = np.concatenate([kept, new]) if len(new) else kept
        if len(new) and len(kept) and new["first"][0] < kept["first"][-1]:
            blocks = blocks[np.argsort(blocks["first"])]  # after a damaged file: the young ones
        self._take(blocks)

    def ids(self, line_class: LineClass | None = None) -> list[Interval]:
        """The ids in each block, or in each block of one class."""
        blocks = self.blocks
        if line_class is not None:
            blocks = blocks[blocks["line_class"] == line_class]
        return list(zip(blocks["first"].tolist(), blocks["last"].tolist(), strict=True))

    def overlapping(self, first: int, last: int) -> Blocks:
        """Blocks with some of these ids."""
        blocks, firsts, lasts = self._table
        return blocks[np.searchsorted(lasts, first) : np.searchsorted(firsts, last, side="right")]

    def older(self, made_ns: int) -> Blocks:
        """Blocks made before this moment."""
        return self.blocks[self.blocks["made_ns"] < made_ns]

    def windows_at(self, starts_ns: npt.NDArray[np.int64]) -> Blocks:
        """Blocks that may hold windows with one of these starts, which ascend."""
        blocks = self.blocks[self.blocks["line_class"] == LineClass.WINDOW]
        low = np.searchsorted(starts_ns, blocks["from_ns"])
        high = np.searchsorted(starts_ns, blocks["to_ns"], side="right")
        found: Blocks = blocks[low < high]
        return found

    def having(self, firsts: list[int]) -> Blocks:
        """The blocks with these first ids."""
        return self.blocks[np.isin(self.blocks["first"], firsts)]

    def _take(self, blocks: Blocks) -> None:
        # Ids lie by themselves too: a search in a column of a table would copy all of it.
        firsts, lasts = blocks["first"].copy(), blocks["last"].copy()
        self._table: tuple[Blocks, Blocks, Blocks] = blocks, firsts, lasts
