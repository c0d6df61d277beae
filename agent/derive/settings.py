"""How the detectors are set."""

from __future__ import annotations

from dataclasses import dataclass

from agent.signals import SECOND_NS


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """How the detectors are set.

    warmup_ns : how long a signal is learned before it is judged
    off_ns : how long a signal is calm before its episode is over
    """

    enabled: bool = True
    warmup_ns: int = 15 * SECOND_NS
    off_ns: int = 2 * SECOND_NS
