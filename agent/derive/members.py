"""Members: which signals each source reads, by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from agent.batch import Int32
from agent.signals import MACHINE_SIGNAL, Signal


class Members:
    """The signals of each source; such as stand for a whole machine are nobody's."""

    def __init__(self, signals: Iterable[Signal] = ()) -> None:
        by_source: dict[str, list[int]] = {}
        for number, signal in enumerate(signals):
            if signal.source and signal.name != MACHINE_SIGNAL:
                by_source.setdefault(signal.source, []).append(number)
        self._ids = {name: np.array(ids, np.int32) for name, ids in by_source.items()}

    def __iter__(self) -> Iterator[tuple[str, Int32]]:
        return iter(self._ids.items())

    def __bool__(self) -> bool:
        return bool(self._ids)

    def of(self, source: str) -> Int32:
        """(n,) int32, ascending."""
        return self._ids.get(source, np.empty(0, np.int32))
