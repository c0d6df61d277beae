"""Machine states: what state a machine is in, from the texts of its state signal.

Enters: samples of signals with `state`, lost sources, signals that go. Leaves: a `MachineState`
when a state begins, and the same once more when it is over. Each Good text that differs from the
one before begins a state at its own time; anything else (Bad, Uncertain, no text) ends the one
before and begins none, and so does a lost connection: nobody knows the state until the next text.
A sample older than the newest of its signal changes nothing. Nothing here fails.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.batch import GOOD, SEVERITY_SHIFT, Batch
from agent.signals import SECOND_NS

REASON_AFTER: Final = ": "
"""`Held: no material` is the state Held, and why."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """A state that a machine is or was in.

    signal : that tells of it; it stands for the machine
    start_ns : never moves; it is the state's identity
    ended_ns : when it was over, None while it lasts
    """

    signal: int
    start_ns: int
    state: str
    reason: str = ""
    ended_ns: int | None = None

    @property
    def duration_s(self) -> float | None:
        """How long it lasted, once it is over."""
        return None if self.ended_ns is None else (self.ended_ns - self.start_ns) / SECOND_NS


class MachineStates:
    """The states that last, one a state signal, and when each signal's newest sample was."""

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        self._open: dict[int, MachineState] = {}
        self._newest_ns: dict[int, int] = {}
        if stored:
            self.know(stored["open"])
            self._newest_ns.update(stored["newest_ns"])

    def document(self) -> dict[str, Any]:
        """All that is known, as plain values, for the checkpoint."""
        return {
            "open": [asdict(state) for state in self._open.values()],
            "newest_ns": sorted(self._newest_ns.items()),
        }

    def open(self) -> list[MachineState]:
        """The states that last."""
        return list(self._open.values())

    def know(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """These states last, as `asdict` wrote them."""
        for document in documents:
            state = MachineState(**document)
            self._open[state.signal] = state

    def take(self, batch: Batch, rows: npt.NDArray[np.bool_]) -> list[MachineState]:
        """The states that these samples begin or end, as they now stand."""
        columns = (batch.signal, batch.time_ns, batch.value, batch.status)
        changed: list[MachineState] = []
        lists = [column[rows].tolist() for column in columns]
        for number, time_ns, value, status in zip(*lists, strict=True):
            is_good = status >> SEVERITY_SHIFT == GOOD and math.isfinite(value)
            changed += self._say(number, time_ns, batch.texts[int(value)] if is_good else "")
        return changed

    def end(self, signals: Iterable[int], time_ns: int) -> list[MachineState]:
        """These signals' states are over at `time_ns`, or when they were last heard of."""
        return [
            self._end(number, max(time_ns, self._newest_ns.get(number, 0)))
            for number in sorted(self._open.keys() & set(signals))
        ]

    def forget(self, signals: Collection[int]) -> None:
        """Nothing is known of these signals."""
        for number in signals:
            self._open.pop(number, None)
            self._newest_ns.pop(number, None)

    def _say(self, number: int, time_ns: int, text: str) -> Iterator[MachineState]:
        if time_ns < self._newest_ns.get(number, 0):
            return
        self._newest_ns[number] = time_ns
        state, _, reason = (part.strip() for part in text.partition(REASON_AFTER))
        known = self._open.get(number)
        if known is not None:
            if (known.state, known.reason) == (state, reason):
                return
            if time_ns > known.start_ns or not state:  # else the new one takes its place
                yield self._end(number, time_ns)
        if state:
            self._open[number] = MachineState(number, time_ns, state, reason)
            yield self._open[number]

    def _end(self, number: int, time_ns: int) -> MachineState:
        state = self._open.pop(number)
        return replace(state, ended_ns=max(time_ns, state.start_ns))
