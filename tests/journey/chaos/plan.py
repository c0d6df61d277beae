"""Which faults a run has, and when: drawn from the seed and the run's number alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tests.journey.chaos.network import TROUBLES

PHASE_S: Final = 2.5
"""Faults begin and end within this time from the start of a run."""
SHORTEST_S: Final = 0.1
LONGEST_S: Final = 1.5
MORE_SHARE: Final = 0.4
"""How probable a fault of each subject is; that of the agent is certain."""
CLOCK_STEPS_MS: Final = (-20_000, -3_000, -400, 400, 3_000, 20_000)
KILLS_MAX: Final = 4
TROUBLED_MAX: Final = 3

KINDS: Final = {
    "agent": ("agent_kill", "agent_kill", "agent_kills"),
    "service": ("agent_stop",),
    "cloud": ("cloud_kill", "cloud_stop"),
    "broker": ("broker_stop",),
    "broker_link": ("broker_cut", "broker_hole", "broker_slow"),
    "cloud_link": ("cloud_cut", "cloud_hole", "cloud_slow"),
    "answers": tuple(f"answer_{trouble}" for trouble in TROUBLES),
    "clock": ("clock_step",),
    "disk": ("disk_full",),
}
"""What may happen to each subject; in one run each suffers one fault at most."""


@dataclass(frozen=True, order=True)
class Fault:
    """One fault: from `at_s` after the start of its run, for `for_s` seconds.

    size : kills in a row, requests in trouble, or the clock's step in ms
    """

    at_s: float
    for_s: float
    kind: str
    size: int = 1

    def __str__(self) -> str:
        return f"{self.kind}({self.size}) {self.at_s:.2f}+{self.for_s:.2f} s"


def draw(seed: int, run: int, subjects: tuple[str, ...] = tuple(KINDS)) -> tuple[Fault, ...]:
    """The faults of one run, in order of time."""
    dice = random.Random(f"{seed}/{run}")  # noqa: S311 - a plan, no secret
    faults = []
    for subject, kinds in KINDS.items():
        happens = subject == "agent" or dice.random() < MORE_SHARE
        for_s = dice.uniform(SHORTEST_S, LONGEST_S)
        at_s = dice.uniform(0.0, PHASE_S - for_s)
        fault = Fault(at_s, for_s, *_sized(dice, dice.choice(kinds)))
        if happens and subject in subjects:
            faults.append(fault)
    return tuple(sorted(faults))


def _sized(dice: random.Random, kind: str) -> tuple[str, int]:
    if kind == "agent_kills":
        return kind, dice.randint(2, KILLS_MAX)
    if kind == "clock_step":
        return kind, dice.choice(CLOCK_STEPS_MS)
    if kind.startswith("answer_"):
        return kind, dice.randint(1, TROUBLED_MAX)
    return kind, 1
