"""Compares what the line planted with what the board showed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.cli.demo.watch import Seen
from agent.signals import SECOND_NS

WITHIN_NS: Final = 5 * SECOND_NS
WITHIN_DRIFT_NS: Final = 20 * SECOND_NS
AFTERMATH_NS: Final = 5 * SECOND_NS
"""An anomaly on a fault's signal this soon after its end is the fault's, not a false alarm."""

DETECTOR_OF: Final = {
    "drift": "level",
    "spike": "level",
    "stuck": "stuck",
    "dropout": "dropout",
    "bad_status": "bad_status",
}
"""Which detector must tell of each kind of fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault, as the line's truth file says it."""

    kind: str
    machine: str
    signal: str
    start_ns: int
    visible_ns: int
    end_ns: int

    @property
    def due_ns(self) -> int:
        """By when it must be on the board."""
        return self.visible_ns + (WITHIN_DRIFT_NS if self.kind == "drift" else WITHIN_NS)

    def is_told_by(self, anomaly: Seen) -> bool:
        """Whether this anomaly tells of this fault, by its right name."""
        return self.explains(anomaly) and anomaly.detector == DETECTOR_OF[self.kind]

    def explains(self, anomaly: Seen) -> bool:
        """Whether this anomaly is this fault's doing."""
        same = (anomaly.machine, anomaly.signal) == (self.machine, self.signal)
        return (
            same
            and self.start_ns <= anomaly.seen_ns
            and (anomaly.start_ns <= self.end_ns + AFTERMATH_NS)
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """planted: became visible; caught: the anomaly that told of each in time; false alarms."""

    planted: tuple[Fault, ...]
    caught: dict[Fault, Seen]
    false_alarms: tuple[Seen, ...]


def read_truth(path: Path) -> list[Fault]:
    """The faults planted so far; a line that is still being written is left for later."""
    faults = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        names = ("kind", "machine", "signal", "start_ns", "visible_ns", "end_ns")
        faults.append(Fault(**{name: said[name] for name in names}))
    return faults


def judge(faults: Iterable[Fault], anomalies: Iterable[Seen], end_ns: int) -> Verdict:
    """What was planted and visible by `end_ns`, what of it was caught in time, what was false."""
    planted = tuple(fault for fault in faults if fault.visible_ns <= end_ns)
    seen = sorted(anomalies, key=lambda anomaly: anomaly.seen_ns)
    caught = {}
    for fault in planted:
        told = [one for one in seen if fault.is_told_by(one) and one.seen_ns <= fault.due_ns]
        if told:
            caught[fault] = told[0]
    every = tuple(faults)
    false = tuple(found for found in seen if not any(fault.explains(found) for fault in every))
    return Verdict(planted, caught, false)
