"""An anomaly: an episode with a start, an end, a cause and evidence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from agent.kernels.events import ALARM_RATIO

ID_CHARACTERS: Final = 12
SCORE_HALF: Final = 0.5
"""The score of evidence that just reaches its limit."""
SCORED_RATIO_MAX: Final = 10.0
"""Beyond this the score is 1 to all digits; a machine's 1e300 must not overflow it."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One episode of one detector on one signal.

    start_ns : never moves; with signal and detector it is the anomaly's identity
    ratio : evidence over its limit, the worst so far; at least 1 once it is an anomaly
    value, expected, low, high : in the signal's unit, NaN where they mean nothing
    pause_ns, usual_ns : for silence: how long, and the longest usual
    status : for bad_status: the OPC UA StatusCode
    ended_ns : when it was over, None while it lasts
    """

    signal: int
    detector: str
    start_ns: int
    noticed_ns: int
    ratio: float
    value: float = math.nan
    expected: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pause_ns: float = math.nan
    usual_ns: float = math.nan
    status: int = 0
    reason: str = ""
    ended_ns: int | None = None

    @property
    def severity(self) -> str:
        """`warning`, or `alarm` from twice the limit on."""
        return "alarm" if self.ratio >= ALARM_RATIO else "warning"

    @property
    def score(self) -> float:
        """0 to 1: a half at the limit, 0.94 at twice the limit."""
        return float(1.0 - SCORE_HALF ** (min(self.ratio, SCORED_RATIO_MAX) ** 2))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Anomaly:
        """The anomaly that `asdict` wrote; fields of a newer version are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})

    def id(self, label: str) -> str:
        """A short name, the same after a restart; `label` is the signal's `machine/signal`."""
        text = f"{label}/{self.detector}/{self.start_ns}"
        return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARACTERS]
