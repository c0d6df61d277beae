"""Outages: which sources are lost, and one anomaly for each of their machines that says so."""

from __future__ import annotations

import logging
from collections.abc import Collection

from agent.derive.states import Ids
from agent.detect.anomaly import Anomaly
from agent.detect.episodes import Episodes
from agent.errors import SignalsFull
from agent.signals import MACHINE_SIGNAL, Signal, SignalTable

log = logging.getLogger("andon.derive")


class Outages:
    """The lost sources; `lost` is the state: the ids that stand for their machines, by source."""

    def __init__(self, table: SignalTable) -> None:
        self.lost: dict[str, list[int]] = {}
        self._table = table

    def __contains__(self, source: str) -> bool:
        return source in self.lost

    def begin(
        self, source: str, members: Ids, since_ns: int, reason: str, episodes: Episodes
    ) -> list[Anomaly]:
        """The source of these signals is lost."""
        self.lost[source] = self._machines(members)
        return [episodes.lost(number, since_ns, reason) for number in self.lost[source]]

    def end(self, source: str, time_ns: int, episodes: Episodes) -> list[Anomaly]:
        """The source is back."""
        ended = [episodes.regained(number, time_ns) for number in self.lost.pop(source)]
        return [anomaly for anomaly in ended if anomaly is not None]

    def keep(self, sources: Collection[str]) -> None:
        """Others than these are not lost, they are gone."""
        self.lost = {name: numbers for name, numbers in self.lost.items() if name in sources}

    def _machines(self, members: Ids) -> list[int]:
        """The ids that stand for the machines of these signals as a whole."""
        machines = {(self._table[i].path, self._table[i].machine): self._table[i] for i in members}
        numbers = []
        for (path, machine), signal in machines.items():
            stands_for = Signal(path, machine, MACHINE_SIGNAL, signal.source, kind="text")
            try:
                numbers.append(self._table.add(stands_for))
            except SignalsFull as error:
                log.warning("%s: its lost connection is not told: %s", machine, error)
        return numbers
